"""What makes a shell ask `smegctl complete`. The words come from there, so these do not change with the commands."""

from __future__ import annotations

_BASH = r"""
# bash completion for smegctl: `source <(smegctl completion bash)`
_smegctl() {
    local typed="${COMP_LINE:0:COMP_POINT}" words candidate cut
    read -ra words <<< "$typed"
    [[ $typed == *[[:space:]] ]] && words+=("")
    # The shell breaks words at : and =, and replaces what comes after the last one alone.
    cut="${words[-1]}"
    cut="${cut%"${cut##*[:=]}"}"
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        if [[ $candidate == :files ]]; then
            compopt -o default
        elif [[ -n $candidate ]]; then
            COMPREPLY+=("${candidate#"$cut"}")
        fi
    done < <("$1" complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _smegctl smegctl
"""
_ZSH = r"""
#compdef smegctl
# zsh completion for smegctl: `source <(smegctl completion zsh)`, or as _smegctl in a directory of fpath
_smegctl() {
    local line word about
    local -a found
    for line in ${(f)"$(smegctl complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"}; do
        word="${line%%$'\t'*}"
        about="${line#*$'\t'}"
        [[ $word == :files ]] && { _files; return }
        if [[ $line == *$'\t'* ]]; then found+=("${word//:/\\:}:$about"); else found+=("${word//:/\\:}"); fi
    done
    _describe smegctl found
}
if [[ $funcstack[1] == _smegctl ]]; then _smegctl "$@"; else compdef _smegctl smegctl; fi
"""
_FISH = r"""
# fish completion for smegctl: `smegctl completion fish | source`
function __smegctl
    set -l words (commandline -opc)
    for line in (smegctl complete -- $words[2..-1] (commandline -ct) 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c smegctl -f -a '(__smegctl)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
