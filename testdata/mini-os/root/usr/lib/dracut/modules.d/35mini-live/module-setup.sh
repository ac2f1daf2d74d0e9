#!/bin/bash
# shellcheck disable=SC2154 # the variables in use here are dracut's
# The live half of the initramfs: find rootfs.img on the ISO or over the network, check it, make it the root.
# The same initramfs boots installed disks; everything here sleeps unless /etc/coreos-live-initramfs exists.

check() {
    return 255
}

depends() {
    echo systemd ostree mini-ignition rdcore
}

installkernel() {
    hostonly='' instmods loop overlay squashfs erofs isofs sr_mod cdrom
}

install() {
    inst_multiple cat cp cpio curl dd mkdir mount mv rm sed sleep tr udevadm umount modprobe
    inst_script "$moddir/is-live-image" /usr/bin/is-live-image
    inst_script "$moddir/live-root" /usr/libexec/mini-live-root
    inst_script "$moddir/generator" "$systemdutildir/system-generators/mini-live-generator"
    inst_simple "$moddir/mini-live-root.service" "$systemdsystemunitdir/mini-live-root.service"
    inst_simple "$moddir/mini-live-config.service" "$systemdsystemunitdir/mini-live-config.service"
    inst_simple "$moddir/any-ethernet.network" /usr/lib/systemd/network/80-any-ethernet.network
}
