package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// Run prints a script by which a shell completes commands and flags, made of the command line itself.
func (s *completionCommand) Run(t *terminal, model *kong.Kong) error {
	words := map[string][]string{}
	var paths []string
	var walk func(n *kong.Node, path string, above []string)
	walk = func(n *kong.Node, path string, above []string) {
		flags := slices.Clone(above)
		for _, f := range n.Flags {
			if !f.Hidden {
				flags = append(flags, "--"+f.Name)
			}
		}
		next := slices.Clone(flags)
		for _, child := range n.Children {
			if !child.Hidden {
				next = append(next, child.Name)
				walk(child, strings.TrimSpace(path+" "+child.Name), flags)
			}
		}
		words[path], paths = next, append(paths, path)
	}
	walk(model.Model.Node, "", nil)
	slices.Sort(paths)
	if s.Shell == "fish" {
		for _, path := range paths {
			fmt.Fprintf(t.out, "complete -c weir -f -n 'test (string join \" \" (string match -v -- \"-*\" (commandline -opc)[2..])) = \"%s\"' -a '%s'\n", path, strings.Join(words[path], " "))
		}
		return nil
	}
	if s.Shell == "zsh" {
		fmt.Fprintln(t.out, "autoload -Uz bashcompinit && bashcompinit")
	}
	fmt.Fprintln(t.out, "_weir() {\n  local path=() w\n  for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do [[ $w == -* ]] || path+=(\"$w\"); done\n  local words\n  case \"${path[*]}\" in")
	for _, path := range slices.Backward(paths) { // a longer path before those that it begins with
		fmt.Fprintf(t.out, "  %q*) words=%q ;;\n", path, strings.Join(words[path], " "))
	}
	fmt.Fprintln(t.out, "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n  [[ ${#COMPREPLY[@]} -gt 0 ]] || compopt -o default 2>/dev/null\n}\ncomplete -F _weir weir")
	return nil
}
