#!/bin/bash
# shellcheck disable=SC2154 # the variables in use here are dracut's
# What the initramfs tells the boot tests: which disks and drivers it saw by itself, and why it gave up.

check() {
    return 255
}

depends() {
    echo systemd
}

install() {
    inst_multiple cat dmesg journalctl readlink systemctl udevadm basename sed tail mkdir sleep kill
    inst_simple /usr/lib/mini/console
    inst_script /usr/lib/mini/hardware /usr/lib/mini/hardware
    inst_script /usr/lib/mini/emergency /usr/lib/mini/emergency
    inst_simple "$moddir/mini-hardware.service" "$systemdsystemunitdir/mini-hardware.service"
    mkdir -p "$initdir$systemdsystemunitdir/initrd.target.wants"
    ln_r "$systemdsystemunitdir/mini-hardware.service" \
        "$systemdsystemunitdir/initrd.target.wants/mini-hardware.service"
    # Nobody sits at the console: whatever asks for a shell reports instead.
    for unit in emergency.service dracut-emergency.service rescue.service; do
        rm -f "$initdir$systemdsystemunitdir/$unit"
        inst_simple /usr/lib/systemd/system/mini-emergency.service "$systemdsystemunitdir/$unit"
    done
}
