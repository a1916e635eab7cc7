# shellcheck shell=bash
# What ./check and ./demo share: set-up, builds, progress lines, and whether KVM can be used here.
# The caller is in the top directory and has set $me, the word that its lines begin with.
me=${me:?}

# Seconds with one decimal since $1, a value of EPOCHREALTIME.
seconds_since()
{
	local tenths=$(((${EPOCHREALTIME/./} - ${1/./} + 50000) / 100000))

	echo "$((tenths / 10)).$((tenths % 10)) s"
}

say()
{
	echo "$me: $*"
}

# The start of a progress line; `done_line` ends it.
begin_line()
{
	line_start=$EPOCHREALTIME
	printf '%s: %-30s ' "$me" "$1"
}

done_line()
{
	echo "$1 ($(seconds_since "$line_start"))"
}

# Why KVM cannot be used on this machine; nothing, and success, if it can be.
# PENUMBRA_NO_KVM=1 pretends that there is none, so that this case can be tested anywhere.
kvm_trouble()
{
	if [ -n "${PENUMBRA_NO_KVM:-}" ]; then
		echo 'PENUMBRA_NO_KVM is set'
		return 1
	fi
	python3 - <<-'EOF'
	import fcntl, sys
	KVM_CREATE_VM = 0xAE01
	try:
	    with open("/dev/kvm", "r+b", buffering=0) as kvm:
	        fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
	except OSError as error:
	    print(f"/dev/kvm: {error.strerror}")
	    sys.exit(1)
	EOF
}

# configure COMPILER DIRECTORY MESON-OPTIONS...: once, and again when the options here change.
# A directory that someone configured otherwise (it has no stamp) is used as it is.
configure()
{
	local compiler=$1 directory=$2 stamp=$2/.options want

	shift 2
	want="$compiler $*"
	if [ -f "$directory/build.ninja" ]; then
		[ -f "$stamp" ] && [ "$(cat "$stamp")" != "$want" ] || return 0
	fi
	# What an interrupted or outdated configuration left would only confuse meson.
	rm -rf "$directory/meson-private" "$directory/build.ninja"
	CC=$compiler meson setup "$directory" "$@" && echo "$want" >"$stamp"
}

# build COMPILER DIRECTORY MESON-OPTIONS...
build()
{
	configure "$@" && ninja --quiet -k 20 -C "$2"
}

# The build that both commands and their users share.
build_main()
{
	build gcc build -Dwerror=true
}

# set_up LOG: everything up to a finished build, with progress lines. Fails with the log's end shown.
set_up()
{
	scripts/setup || return 1
	begin_line 'build'
	if ! build_main >"$1" 2>&1; then
		done_line 'FAILED'
		tail -n 40 "$1" | sed 's/^/    /'
		return 1
	fi
	done_line 'done'
}
