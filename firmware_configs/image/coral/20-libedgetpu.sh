# The Edge TPU's driver that came with this image, before any that the system has. Sourced by first-boot.sh.
coral_lib=$opt/skerry-lib
mkdir -p "$coral_lib" "$root/etc/ld.so.conf.d"
put "$here/coral/libedgetpu.so.1" "$coral_lib/libedgetpu.so.1" 0755
echo /opt/skerry-lib >"$root/etc/ld.so.conf.d/000-skerry.conf"
[ -n "$root" ] || ldconfig || refuse "libedgetpu: ldconfig fails"
coral_lacks=$(ldd "$coral_lib/libedgetpu.so.1" 2>&1 | awk '/not found/ { print $1; exit }') || :
if [ -n "$coral_lacks" ]; then
    say "libedgetpu: $coral_lacks is missing here: the Edge TPU is not used until it is installed"
else
    say "libedgetpu: $coral_driver is in /opt/skerry-lib"
fi
