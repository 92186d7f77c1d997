# fish completion for ktool: the program itself says what may follow (`ktool __complete`)
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
