# System-wide settings of interactive bash on a Drydock node.

[ -z "${PS1-}" ] && return

shopt -s checkwinsize

# The completion library is large; it is read at the first Tab, not before the first prompt.
# Reading it puts its own loader in this one's place, which then finds the command's completion.
_drydock_completion() {
  . /usr/share/bash-completion/bash_completion
  unset -f _drydock_completion
  _comp_complete_load "$@"
}
[ -r /usr/share/bash-completion/bash_completion ] &&
  complete -D -F _drydock_completion
