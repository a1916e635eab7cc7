# shellcheck shell=dash
# Inside the lab, runs the tests that the rest of this script names, one `run` line each.
# (run-suite appends those lines.)
#	run NAME SECONDS DIRECTORY COMMAND...

ticks()
{
	cut -d ' ' -f 1 /proc/uptime
}

seconds_since()
{
	echo "$1 $(ticks)" | awk '{ printf "%.1f", $2 - $1 }'
}

# Why a test that ended with exit code $1 after $2 of $3 seconds failed.
reason()
{
	if [ "$1" -eq 137 ] && [ "${2%.*}" -ge "$3" ]; then
		echo "time is up after $3 s"
	elif [ "$1" -gt 128 ]; then
		echo "signal $(($1 - 128))"
	else
		echo "exit $1"
	fi
}

run()
{
	name=$1
	limit=$2
	directory=$3
	shift 3
	mkdir -p "$directory"
	start=$(ticks)
	# The outer redirection is for this shell's own word on a death by signal.
	# (Two commands inside: around a lone subshell ash and dash drop the inner redirections.)
	{
		(cd "$directory" && exec timeout -s KILL "$limit" "$@") >/tmp/output 2>&1
		code=$?
	} 2>/dev/null </dev/null
	took=$(seconds_since "$start")
	case $code in
	0) echo "ok $name ($took s)" ;;
	77) echo "skip $name: $(tail -n 1 /tmp/output)" ;;
	*)
		echo "FAIL $name ($(reason "$code" "$took" "$limit"))"
		tail -c 20000 /tmp/output | sed 's/^/    | /'
		;;
	esac
}

