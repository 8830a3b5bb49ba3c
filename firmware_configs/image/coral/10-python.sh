# The interpreter that came with this image, in a folder of its own; what the system has stays as it is. Sourced by
# first-boot.sh, which takes SKERRY_PYTHON before all others.
coral_home=$opt/skerry-python-$coral_python
if [ ! -f "$coral_home/.complete" ]; then
    mkdir -p "$opt"
    free=$(df -Pk "$opt" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$coral_kb" ] || refuse "python: $((free / 1024)) MB are free in $opt, $((coral_kb / 1024)) MB are needed"
    rm -rf "$coral_home" "$coral_home.new"
    mkdir "$coral_home.new"
    tar -xf "$here/coral/python.tar" -C "$coral_home.new" --no-same-owner 2>/dev/null || {
        rm -rf "$coral_home.new"
        refuse "python: the interpreter of this image cannot be unpacked: copy the whole folder again"
    }
    sync
    mv "$coral_home.new" "$coral_home"
    said=$("$coral_home/$coral_program" -c 'import ctypes, ensurepip, hashlib, ssl, venv' 2>&1) || {
        rm -rf "$coral_home"
        refuse "python: the interpreter of this image does not start here: $(echo "$said" | tail -n 1)"
    }
    : >"$coral_home/.complete"
    sync
fi
SKERRY_PYTHON=$coral_home/$coral_program
say "python: $("$SKERRY_PYTHON" --version 2>&1) of this image"
