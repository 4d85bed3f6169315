#!/bin/busybox sh
# PID 1 of the guest: modules in the order given, the machine's root under an overlay, the command, power off.
# shellcheck shell=dash
b=/bin/busybox
share=trans=virtio,version=9p2000.L,msize=512000

$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
while read -r module; do
    $b insmod "/modules/$module" || $b echo "init: $module did not load"
done </order

$b mount -t 9p -o "ro,$share,cache=loose" root /lower || $b reboot -f
$b mount -t tmpfs upper /upper
$b mkdir /upper/data /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work root /root || $b reboot -f
$b mount --move /dev /root/dev
$b mount -t proc proc /root/proc
$b mount -t sysfs sysfs /root/sys
$b mkdir -p /root/dev/pts /root/dev/shm
$b mount -t devpts pts /root/dev/pts
$b mount -t tmpfs shm /root/dev/shm
[ -e /root/dev/fd ] || $b ln -s /proc/self/fd /root/dev/fd
$b mount -t tmpfs run /root/run
$b mkdir -p /root/run/netns /root/run/guest
$b mount -t 9p -o "$share,cache=none" share /root/run/guest || $b reboot -f
$b ip link set lo up

$b chroot /root /bin/sh /run/guest/command >/root/run/guest/output 2>&1
$b echo $? >/root/run/guest/status
$b sync
$b reboot -f
