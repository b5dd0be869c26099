# System-wide settings of interactive bash on a Drydock node.

[ -z "${PS1-}" ] && return

shopt -s checkwinsize

# The completion library is large; it is read at the first Tab, not before the first prompt.
_drydock_completion() {
  complete -r -D
  . /usr/share/bash-completion/bash_completion
  _comp_load "$1" && return 124
  declare -F _comp_complete_load >/dev/null && complete -D -F _comp_complete_load -o bashdefault -o default
  return 124
}
[ -r /usr/share/bash-completion/bash_completion ] && complete -D -F _drydock_completion -o bashdefault -o default
