#!/bin/sh
# usage: snapshots.sh save|restore BUILD DIR
# The part of selftest-snapshot that runs on both hosts. save: has guests run for a moment and saves them into DIR/NAME/s, with what
# they have said in DIR/NAME/head. restore: has each of DIR go on in both modes; what it says and its exit status come into
# DIR/NAME/MODE.tail, what it complains of into DIR/NAME/MODE.complaint.
set -u

what=$1
penumbra=$2/penumbra
guest=$2/guest
place=$3

# save NAME WORDS...: of a guest that runs for a second or more.
save()
{
	at=$place/$1
	shift
	mkdir -p "$at"
	"$penumbra" run --control="$at/socket" "$@" >"$at/head" 2>"$at/error" &
	guest_pid=$!
	tries=0
	until [ -S "$at/socket" ] || [ $((tries += 1)) -gt 600 ]; do
		sleep 0.05
	done
	sleep 0.4
	"$penumbra" ctl "$at/socket" pause
	"$penumbra" ctl "$at/socket" snapshot "$at/s" || echo "$at: not saved"
	"$penumbra" ctl "$at/socket" quit
	wait "$guest_pid"
	grep -v 'stopped by the user' "$at/error"
}

restore()
{
	for mode in ept shadow; do
		"$penumbra" restore --mmu="$mode" "$1/s" >"$1/$mode.tail" 2>"$1/$mode.complaint"
		echo "status $?" >>"$1/$mode.tail"
	done
}

case $what in
save)
	save clock "$guest/clock" -- 250
	save memory --mmu=shadow "$guest/memory" -- seed=9 rounds=150 pause=1
	save sse "$guest/compute" -- sse 6000
	# Only where KVM has SSE3; a host that has not must refuse it.
	"$penumbra" run --cpu=v2 "$guest/hello" >/dev/null 2>&1 && save v2 --cpu=v2 "$guest/clock" -- 250
	;;
restore)
	for at in "$place"/*/; do
		restore "${at%/}"
	done
	;;
esac
