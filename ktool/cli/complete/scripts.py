"""The completion scripts of the shells: each asks `ktool __complete` and shows what it says. `ktool completion` prints
them; `completions/` has them as files, and a test compares the two.

No answer is ever evaluated: candidates are read line by line into an array.
"""

BASH = r"""# bash completion for ktool: the program itself says what may follow (`ktool __complete`)
_ktool() {
    local line=${COMP_LINE:0:COMP_POINT} program found one before=""
    program=$(type -P -- "${COMP_WORDS[0]}") || program=ktool
    mapfile -t found < <("$program" __complete --line "$line" 2>/dev/null)
    COMPREPLY=()
    ((${#found[@]})) || return 0
    local -i directive=${found[-1]//[^0-9]/}
    unset "found[-1]"
    ((directive & 4)) || { compopt -o default 2>/dev/null; return 0; }
    ((directive & 2)) && compopt -o nospace 2>/dev/null
    local word=${line##*[[:space:]]} breaks=${COMP_WORDBREAKS//[^=:]/} # bash completes what follows the last of these
    [[ $breaks && $word == *["$breaks"]* ]] && before=${word%"${word##*["$breaks"]}"}
    for one in "${found[@]%%$'\t'*}"; do COMPREPLY+=("${one#"$before"}"); done
}
complete -F _ktool ktool
"""

ZSH = r"""#compdef ktool
# zsh completion for ktool: the program itself says what may follow (`ktool __complete`)
_ktool() {
    local -a found names shown space
    local one
    found=("${(@f)$(ktool __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    [[ ${found[-1]} == :<-> ]] || return 1
    local -i directive=${found[-1]#:}
    found[-1]=()
    (( directive & 4 )) || { _files; return; }
    (( directive & 2 )) && space=(-S '')
    for one in "${found[@]}"; do
        names+=("${one%%$'\t'*}")
        shown+=("${one/$'\t'/  -- }")
    done
    compadd "${space[@]}" -l -d shown -a names
}
if [ "$funcstack[1]" = _ktool ]; then _ktool "$@"; else compdef _ktool ktool; fi
"""

FISH = r"""# fish completion for ktool: the program itself says what may follow (`ktool __complete`)
function __ktool_complete
    set -l words (commandline -opc)
    set -e words[1]
    set -l last (commandline -ct)
    set -l found (ktool __complete $words "$last" 2>/dev/null)
    set -l directive (string replace : '' -- $found[-1])
    set -e found[-1]
    if contains -- "$directive" 0 2
        __fish_complete_path "$last"
    else if set -q found[1]
        printf '%s\n' $found
    end
end
complete -c ktool -f -a '(__ktool_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
