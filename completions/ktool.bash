# bash completion for ktool: the program itself says what may follow (`ktool __complete`)
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
