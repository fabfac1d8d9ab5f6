#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test-power-cut.sh: the measuring stick of test-whole-machine.sh, measured. The workload runs on a machine without
# Holdfast, the power is cut, the same disks boot again: the check must hold. With one disk from ten seconds earlier
# than the other the check must fail, or it would prove nothing about a replica.
# shellcheck source=SCRIPTDIR/lib.sh
. "$(dirname "$0")/lib.sh"
guest_enter "$@"
guest_setup

boot() { # NAME ROOT DATA
  guest_start "$1" --disk "$2,driver=virtio-blk" --disk "$3,driver=nvme"
}

step "a machine under load"
guest_image "$guest_work/root.img" "${guest_workload[@]}"
truncate -s 384M "$guest_work/data.img"
boot machine "$guest_work/root.img" "$guest_work/data.img"
guest_data_disk machine /dev/nvme0n1
guest_run machine /usr/lib/hf-guest/start
# shellcheck disable=SC2016 # expands inside the guest
guest_wait machine 240 'test "$(cat /run/copier.round)" -ge 3' || fail "the workload does not get on"
guest_do qmp machine stop >/dev/null
cp --sparse=always "$guest_work/data.img" "$guest_work/data-old.img"
guest_do qmp machine cont >/dev/null
told=$(guest_run machine 'cat /run/txn.status; sleep 10' | cut -d' ' -f1)

step "power cut after more than $((10#$told)) transactions"
guest_do kill machine

step "the same disks again"
boot again "$guest_work/root.img" "$guest_work/data.img"
guest_run again -t 120 /usr/lib/hf-guest/check || fail "the check fails on what a power cut leaves"
found=$(guest_run again 'mount -L hfdata /data; /usr/lib/hf-guest/txn verify /var/txn.first /data/txn.second' | cut -d' ' -f4)
[ "$found" -ge "$((10#$told))" ] || fail "only $found transactions, although $told were told"
guest_do poweroff again

step "with the second disk as it was ten seconds earlier"
boot mixed "$guest_work/root.img" "$guest_work/data-old.img"
guest_run mixed -t 120 /usr/lib/hf-guest/check && fail "the check takes disks of two different moments for one machine"
guest_do kill mixed
step "done"
