#!/bin/sh
# Makes this board a Skerry device out of the folder that this script lies in, without a network:
#     sh first-boot.sh        as root; cloud-init or the kernel's command line runs it at the first boot
# Each step says in one line what it has done, on the console, in the journal and in first-boot.log beside this script. What
# is done already is done again to the same end, so it may be run again whenever the power was cut. Nothing that ran before
# is touched until the new environment is complete and its modules import.
# For tests and for images that are being made:
#     SKERRY_ROOT=DIR         installs below DIR, and leaves users, services and devices of this machine alone
#     SKERRY_PYTHON=PROGRAM   takes this Python
#     SKERRY_KEEP_CLAIM=1     leaves the claim in a folder of the boot partition
set -eu
umask 022
LC_ALL=C
export LC_ALL
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=${SKERRY_ROOT:-}
opt=$root/opt etc=$root/etc/skerry units=$root/etc/systemd/system
done_file=$etc/.image

say() {
    line="skerry-first-boot: $*"
    echo "$line"
    [ -z "$root" ] || return 0
    { echo "$line" >>"$here/first-boot.log"; } 2>/dev/null || :
    if command -v logger >/dev/null 2>&1; then logger -t skerry-first-boot -- "$*" 2>/dev/null || :; fi
    # Where standard output is the journal or a log of cloud-init, nobody in front of the board would see it.
    if [ ! -t 1 ] && [ -w /dev/console ]; then { echo "$line" >/dev/console; } 2>/dev/null || :; fi
}

refuse() {
    say "refused: $*"
    exit 1
}

# The kernel's command line must not run this again, whatever became of it; a person reads the log, and may run it by hand.
# Where that cannot be written as a new file, it is written over the old one, which needs no room: the board would boot into
# this for ever.
ended() {
    code=$?
    line=$(dirname "$here")/cmdline.txt
    if is_run_by "$line"; then
        kept=$(sed 's/ systemd\.run=[^ ]*first-boot\.sh.*//' "$line")
        [ -w "$line" ] || mount -o remount,rw "$(dirname "$here")" 2>/dev/null || :
        { echo "$kept" >"$line.new" && [ "$(cat "$line.new")" = "$kept" ] && mv -f "$line.new" "$line"; } 2>/dev/null ||
            { rm -f "$line.new" || :; echo "$kept" >"$line"; } 2>/dev/null || :
        sync
        ! is_run_by "$line" || stay_on
    fi
    exit "$code"
}

has_systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

is_run_by() { [ -f "$1" ] && grep -q 'systemd\.run=[^ ]*first-boot\.sh' "$1"; }

# The boot partition cannot be written: the board comes up all the same, since what would boot it again does not end.
stay_on() {
    say "the kernel's command line cannot be written: take systemd.run= and all behind it out of $line"
    if has_systemd && grep -q kernel-command-line /proc/self/cgroup; then
        exec 9<&-
        systemctl --no-block start multi-user.target && exec sleep infinity
    fi
}
trap ended EXIT

# Replaces a file as a whole: FROM TO MODE.
put() {
    mkdir -p "$(dirname "$2")"
    cp "$1" "$2.new"
    chmod "$3" "$2.new"
    mv -f "$2.new" "$2"
}

check_files() {
    [ -f "$here/SHA256SUMS" ] || refuse "SHA256SUMS is missing: copy the whole folder again"
    image=$(sha256sum <"$here/SHA256SUMS" | cut -c1-16)
    if [ -f "$done_file" ] && [ "$(cat "$done_file")" = "$image" ]; then
        is_done=1
        say "files: image $image is installed already"
        return
    fi
    is_done=0
    bad=$(cd "$here" && sha256sum -c --quiet --strict SHA256SUMS 2>/dev/null | head -n 1) || :
    [ -z "$bad" ] || refuse "files: ${bad%%:*} is not what SHA256SUMS says: copy the whole folder again"
    (cd "$here" && sha256sum -c --status --strict SHA256SUMS) || refuse "files: SHA256SUMS is damaged: copy the whole folder again"
    say "files: $(wc -l <"$here/SHA256SUMS") checked"
}

check_board() {
    [ -n "$root" ] || [ "$(id -u)" = 0 ] || refuse "board: run this as root"
    # shellcheck source=/dev/null
    . "$here/image.env"
    machine=$(uname -m)
    [ "$machine" = "$MACHINE" ] || refuse "board: this is $machine, the image is for $MACHINE: make one with another --board"
    # A board without a clock of its own is behind the time, never before it; one that has enrolled needs no claim.
    if [ -n "${EXPIRES:-}" ] && [ "$(date +%s)" -gt "$EXPIRES" ] && [ ! -e "$root/var/lib/skerry/identity" ]; then
        refuse "claim: it ran out on $(date -d "@$EXPIRES" '+%Y-%m-%d %H:%M'): make the image again"
    fi
}

# A cut of the power leaves this service, which goes on at the next boot. What lies below /run was mounted from a stick, and
# is not there then: a script that mounts it again takes the place of this one.
go_on_after_a_cut() {
    [ -z "$root" ] || return 0
    from=$here
    case $from in
        /run/*)
            put "$here/vendor-data" "${units%/systemd/system}/skerry-first-boot/first-boot.sh" 0755
            from=/etc/skerry-first-boot
            ;;
        *[!A-Za-z0-9/._-]*) return 0 ;; # a unit would need it quoted
    esac
    sed "s|@FOLDER@|$from|" "$here/system/skerry-first-boot.service" >"$units/skerry-first-boot.service.new" 2>/dev/null || return 0
    mv -f "$units/skerry-first-boot.service.new" "$units/skerry-first-boot.service"
    mkdir -p "$units/multi-user.target.wants"
    ln -sf ../skerry-first-boot.service "$units/multi-user.target.wants/skerry-first-boot.service"
    sync # cloud-init does not run this a second time
}

# The first Python that the wheels are for; what else is there is named when none is.
find_python() {
    python=
    seen=
    for each in ${SKERRY_PYTHON:-} $(for version in $PYTHONS; do echo "python$version"; done) python3; do
        found=$("$each" -c 'import struct, sys; print("%d.%d %d" % (sys.version_info[0], sys.version_info[1], 8 * struct.calcsize("P")))' 2>/dev/null) || continue
        case $seen in *" ${found% *} ("*) ;; *) seen="$seen ${found% *} (${found#* } bits)" ;; esac
        for version in $PYTHONS; do
            if [ "$found" = "$version 64" ]; then
                python=$each tag=cp$(echo "$version" | tr -d .) used=$version
                return
            fi
        done
    done
    [ -n "$seen" ] || refuse "python: there is none here: install python3 (one of $PYTHONS)"
    refuse "python: this system has$seen, the wheels are for $PYTHONS with 64 bits: make the image with another --os"
}

check_space() {
    free=$(df -Pk "$opt" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$NEEDS_KB" ] || refuse "disk: $((free / 1024)) MB are free in $opt, $((NEEDS_KB / 1024)) MB are needed"
}

# Nothing else was checked: an image of before, or a computer that the folder was copied on, may have left files.
is_of_image() { cut -c67- "$here/SHA256SUMS" | grep -qxF "$1"; }

# Anything that parts of this image bring along, such as an interpreter or a driver; each may set SKERRY_PYTHON.
other_steps() {
    for step in "$here"/steps.d/*.sh; do
        [ -f "$step" ] && is_of_image "steps.d/${step##*/}" || continue
        # shellcheck source=/dev/null
        . "$step"
    done
}

make_environment() {
    name=skerry-$WHEELS-$tag
    made=$opt/$name
    mkdir -p "$opt"
    if [ -e "$opt/skerry" ] && [ ! -L "$opt/skerry" ]; then
        [ -x "$opt/skerry/bin/skerry-agent" ] || refuse "environment: $opt/skerry is there and is not ours: remove it"
        say "environment: $opt/skerry is there already, of a package: it stays"
        return
    fi
    if [ ! -f "$made/.complete" ]; then
        rm -rf "$made"
        check_space
        "$python" -m venv --without-pip "$made" || refuse "environment: $python -m venv fails: install python3-venv"
        log=$made/install.log
        # Run from its own wheel: Debian's Python comes without one.
        "$made/bin/python" "$here/$(sed -n 's|^.\{64\}  \(wheels/pip-.*\.whl\)$|\1|p' "$here/SHA256SUMS")/pip" install --no-index --require-hashes --no-cache-dir \
            --disable-pip-version-check --quiet --find-links "$here/wheels" -r "$here/wheels/requirements.txt" >"$log" 2>&1 ||
            give_up "$made" "environment: pip says: $(grep -m 1 ERROR "$log" || tail -n 1 "$log")"
        for module in $IMPORTS; do probe "$module"; done
        for_its_own_disk
        sync
        : >"$made/.complete"
        sync
    fi
    before=$(readlink "$opt/skerry" || :)
    if [ "$before" != "$name" ]; then
        ln -sfn "$name" "$opt/.skerry.new"
        mv -T -f "$opt/.skerry.new" "$opt/skerry"
        sync
    fi
    for old in "$opt"/skerry-*-cp*; do
        [ ! -d "$old" ] || [ "$old" = "$made" ] || [ "$old" = "$opt/$before" ] || rm -rf "$old"
    done
    say "environment: $opt/skerry, Python $used, agent $("$opt/skerry/bin/skerry-agent" --version)"
}

# Below SKERRY_ROOT every path of the environment would begin with that folder, which the board does not have. A program
# then finds its Python beside it; the links and pyvenv.cfg hold where the disk is the board's own.
for_its_own_disk() {
    [ -n "$root" ] || return 0
    for file in "$made"/bin/*; do
        if [ -L "$file" ]; then
            target=$(readlink "$file")
            case $target in "$root"/*) ln -sfn "${target#"$root"}" "$file" ;; esac
        elif head -n 2 "$file" | grep -qF "$made/bin/python"; then
            rest=2 # pip writes one line, and three where the path has a space or is long
            [ "$(head -n 1 "$file")" != '#!/bin/sh' ] || rest=4
            { printf '%s\n' "$beside" && tail -n +$rest "$file"; } >"$file.new"
            chmod 0755 "$file.new"
            mv -f "$file.new" "$file"
        fi
    done
    [ ! -f "$made/pyvenv.cfg" ] || sed -i "s|$(echo "$root" | sed 's/[.[\*^$|]/\\&/g')/|/|g" "$made/pyvenv.cfg"
}

# Python reads the second line as a string.
beside="#!/bin/sh
'''exec' \"\$(dirname -- \"\$(readlink -f -- \"\$0\")\")/python\" \"\$0\" \"\$@\"
' '''"

# A module that dies by a signal names it: a wheel may hold instructions that this processor has not.
probe() {
    code=0
    "$made/bin/python" -c "import $1" >"$made/install.log" 2>&1 || code=$?
    [ "$code" = 0 ] && return
    if [ "$code" -gt 128 ]; then
        give_up "$made" "environment: importing $1 died by signal $((code - 128)) on this processor ($(processor))"
    fi
    # The first error of a chain is the cause.
    why=$(grep -m 1 '^[A-Za-z_.]*Error: .' "$made/install.log" || grep -v '^[[:space:]]*$' "$made/install.log" | tail -n 1) || :
    give_up "$made" "environment: $1 does not import: $why"
}

processor() {
    sed -n 's/^\(model name\|CPU part\)[[:space:]]*: //p' /proc/cpuinfo | head -n 1
}

give_up() {
    rm -rf "$1"
    refuse "$2; what was there before is as it was"
}

# A serial number that only root may read, as that of an x86 board is: the service has no right to, and by it the host finds
# the record of a board. As identity/board_serial.py of the agent takes it.
roots_serial() {
    for place in proc/device-tree sys/firmware/devicetree/base; do
        [ ! -e "$root/$place/serial-number" ] || return 0
    done
    for place in product_serial board_serial; do
        found=$(head -c 128 "$root/sys/class/dmi/id/$place" 2>/dev/null | tr -d '\0\n' | sed 's/^ *//; s/ *$//')
        case $(echo "$found" | tr '[:upper:]' '[:lower:]') in
            '' | none | 0 | 'not specified' | 'to be filled by o.e.m.' | 'default string' | 'system serial number') continue ;;
            *[!a-z0-9\ ._:/+-]*) return 0 ;; # would need quotes
        esac
        echo "$found"
        return 0
    done
}

# Who this device is: agent.toml with the paths that the service has, and the files that it names.
put_configuration() {
    mkdir -p "$etc"
    chmod 0700 "$etc"
    other=
    sed -e 's|^state_dir = "state".*|state_dir = "/var/lib/skerry"|' -e 's|^factory = "factory".*|factory = "/usr/share/skerry/factory"|' \
        "$here/agent.toml" >"$etc/agent.toml.new"
    serial=$(roots_serial)
    [ -z "$serial" ] || sed -i -e 's|^# \[device\]$|[device]|' -e "s|^# serial = \"\.\.\.\".*|serial = \"$serial\"|" "$etc/agent.toml.new"
    chmod 0600 "$etc/agent.toml.new"
    if [ -f "$etc/agent.toml" ] && ! cmp -s "$etc/agent.toml" "$etc/agent.toml.new"; then
        put "$etc/agent.toml" "$etc/agent.toml.before" 0600
        other="; the one of before, with what was added to it, is agent.toml.before"
    fi
    mv -f "$etc/agent.toml.new" "$etc/agent.toml"
    for file in trust.json fleet-ca.pem claim.pem claim.key credentials; do
        if [ -f "$here/$file" ]; then
            case $file in trust.json | *.pem) mode=0644 ;; *) mode=0600 ;; esac
            put "$here/$file" "$etc/$file" $mode
        else
            rm -f "$etc/$file"
        fi
    done
    say "configuration: $etc$other"
}

put_factory() {
    [ -d "$here/factory" ] || return 0
    share=$root/usr/share/skerry
    mkdir -p "$share"
    rm -rf "$share/factory.new"
    cp -R "$here/factory" "$share/factory.new"
    chmod -R u=rwX,go=rX "$share/factory.new"
    rm -rf "$share/factory"
    mv "$share/factory.new" "$share/factory"
    say "factory release: $(cd "$share/factory" && echo ./* | sed 's|\./||g') in $share/factory"
}

# The unit gives the agent these groups; a service whose group is missing does not start.
make_groups() {
    [ -n "$root" ] && return
    for group in plugdev video; do
        getent group $group >/dev/null || groupadd -r $group || refuse "groups: $group cannot be made"
    done
    say "groups: plugdev and video are there"
}

# An older one does not hand the configuration over, so the agent would never find it.
systemd_is_old() {
    version=$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9][0-9]*\).*/\1/p')
    [ -n "$version" ] && [ "$version" -lt 250 ]
}

put_service() {
    put "$here/system/99-skerry-coral.rules" "$root/etc/udev/rules.d/99-skerry-coral.rules" 0644
    if systemd_is_old; then
        put "$here/system/skerry-agent-before-250.conf" "$units/skerry-agent.service.d/before-250.conf" 0644
    else
        rm -f "$units/skerry-agent.service.d/before-250.conf"
    fi
    put "$here/system/skerry-agent.service" "$units/skerry-agent.service" 0644
    mkdir -p "$units/multi-user.target.wants"
    ln -sf ../skerry-agent.service "$units/multi-user.target.wants/skerry-agent.service"
    say "service: skerry-agent is enabled"
}

start() {
    if ! has_systemd; then
        say "start: systemd does not run here: /opt/skerry/bin/skerry-agent run --config /etc/skerry/agent.toml"
        return
    fi
    systemctl daemon-reload
    udevadm control --reload 2>/dev/null && udevadm trigger 2>/dev/null || :
    systemctl restart --no-block skerry-agent
    say "start: skerry-agent starts: journalctl -u skerry-agent"
}

# From the board's own boot partition the claim goes; a stick that goes from board to board keeps it.
remove_claim() {
    [ -z "${SKERRY_KEEP_CLAIM:-}" ] || return 0
    case $here in
        "$root"/boot | "$root"/boot/*)
            rm -f "$here/claim.key" "$here/claim.pem" "$here/credentials" 2>/dev/null || {
                say "claim: cannot be removed from $here: do it by hand"
                return
            }
            sync
            say "claim: only in $etc from now on"
            ;;
        *) [ ! -f "$here/claim.key" ] || say "claim: stays in $here too: keep that folder to yourself" ;;
    esac
}

finish() {
    sync
    echo "$image" >"$done_file.new"
    mv -f "$done_file.new" "$done_file"
    sync
}

# A person and cloud-init may be at it at once.
exec 9<"$here/first-boot.sh"
if command -v flock >/dev/null 2>&1; then flock -n 9 || refuse "it runs already: wait for it"; fi

check_files
if [ "$is_done" = 0 ]; then
    check_board
    go_on_after_a_cut
    other_steps
    find_python
    make_environment
    put_factory
    put_configuration
    make_groups
    put_service
    finish
fi
remove_claim
rm -f "$units/skerry-first-boot.service" "$units/multi-user.target.wants/skerry-first-boot.service"
rm -rf "${units%/systemd/system}/skerry-first-boot"
start
