#compdef ktool
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
