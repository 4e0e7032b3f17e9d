// Package rooms is the floor plan of the project: which folder holds what, which room may import which, and why the
// other doors are walled up.
//
// Weir's argument for safety leans on what a program cannot do because the code for it is not there: the process
// that holds keys and people's requests has no engine to run their text on, and the process that has the engine has
// no key, no log and no way to answer anyone. The test of this package holds every commit to the plan. Nothing
// imports it.
package rooms

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Module is the path under which the rooms are imported.
const Module = "weir"

// Room is a folder with everything beneath it, down to the next folder that is a room itself.
type Room struct {
	Path  string
	Holds string
	Alone bool     // nobody may import it
	May   []string // the rooms that it may import
	Tests []string // the rooms that its tests, and nothing else of it, may import besides
	Never []Wall   // every other room, with the reason
}

// Wall is a reason for which some rooms must not be imported.
type Wall struct {
	Rooms   []string
	Because string
}

// Link forbids foreign packages to some of ours: an import path, or a folder of such paths.
type Link struct {
	Of      []string // the packages that it binds; "*" binds all
	Except  []string // packages that it does not bind although Of names them
	Never   []string
	Direct  bool // only the package's own import counts, not what its imports bring along
	Because string
}

// Package is what the plan is checked against: one package as `go list -json` describes it.
type Package struct {
	ImportPath   string
	Doc          string
	Imports      []string // by the package itself
	TestImports  []string
	XTestImports []string
	Deps         []string // all that ends up in a program which imports it
}

// Check compares packages with a plan and says, sentence by sentence, where they differ.
func Check(plan []Room, links []Link, packages []Package) []string {
	var found []string
	for _, p := range packages {
		name := local(p.ImportPath)
		if p.Doc == "" {
			found = append(found, fmt.Sprintf("%s has no package comment; say what it is for, whom it trusts and what it must never do", name))
		}
		from, ok := roomOf(plan, name)
		if !ok {
			found = append(found, fmt.Sprintf("%s is in no room; put it into one, or add its folder to the plan with what it holds and may import", name))
			continue
		}
		found = append(found, edges(plan, from, p)...)
		for _, link := range links {
			found = append(found, link.check(name, p)...)
		}
	}
	return found
}

// Complete names every pair of rooms of which the plan does not say whether the first may import the second, and
// every room that it says twice about.
func Complete(plan []Room) []string {
	var found []string
	for _, from := range plan {
		said := map[string]int{}
		for _, to := range from.May {
			said[to]++
		}
		for _, wall := range from.Never {
			for _, to := range wall.Rooms {
				said[to]++
			}
		}
		for _, to := range plan {
			if n := said[to.Path]; to.Path != from.Path && !to.Alone && n != 1 {
				found = append(found, fmt.Sprintf("the plan speaks %d times of %s importing %s; it must once", n, from.Path, to.Path))
			}
			delete(said, to.Path)
		}
		for stranger := range said {
			found = append(found, fmt.Sprintf("%s speaks of %s, which is no room", from.Path, stranger))
		}
	}
	slices.Sort(found)
	return found
}

func edges(plan []Room, from Room, p Package) []string {
	own, tests := p.Imports, slices.Concat(p.TestImports, p.XTestImports)
	if helper(p.ImportPath) {
		own, tests = nil, slices.Concat(own, tests)
	}
	found := slices.Concat(
		forbidden(plan, from, p, own, from.May),
		forbidden(plan, from, p, tests, slices.Concat(from.May, from.Tests)),
	)
	for _, imported := range own {
		if ours(imported) && helper(imported) {
			found = append(found, fmt.Sprintf("%s must not import %s: helpers of tests stay out of programs", local(p.ImportPath), local(imported)))
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func forbidden(plan []Room, from Room, p Package, imports, allowed []string) []string {
	var found []string
	for _, imported := range imports {
		if !ours(imported) {
			continue
		}
		to, ok := roomOf(plan, local(imported))
		if !ok || to.Path == from.Path || slices.Contains(allowed, to.Path) {
			continue
		}
		found = append(found, fmt.Sprintf("%s must not import %s: %s", local(p.ImportPath), local(imported), from.because(to)))
	}
	return found
}

func (r Room) because(to Room) string {
	if to.Alone {
		return "it stands alone"
	}
	for _, wall := range r.Never {
		if slices.Contains(wall.Rooms, to.Path) {
			return wall.Because
		}
	}
	return "the plan does not allow it"
}

func (l Link) check(name string, p Package) []string {
	if !slices.Contains(l.Of, "*") && !slices.Contains(l.Of, name) || slices.Contains(l.Except, name) {
		return nil
	}
	linked, how := p.Deps, "link"
	if l.Direct {
		linked, how = p.Imports, "import"
	}
	var found []string
	for _, never := range l.Never {
		if i := slices.IndexFunc(linked, func(path string) bool { return within(path, never) }); i >= 0 {
			found = append(found, fmt.Sprintf("%s must not %s %s: %s", name, how, linked[i], l.Because))
		}
	}
	return found
}

// roomOf finds the room that a package lies in: the longest path that holds it.
func roomOf(plan []Room, name string) (Room, bool) {
	holding := slices.DeleteFunc(slices.Clone(plan), func(r Room) bool { return !within(name, r.Path) })
	if len(holding) == 0 {
		return Room{}, false
	}
	return slices.MaxFunc(holding, func(a, b Room) int { return cmp.Compare(len(a.Path), len(b.Path)) }), true
}

func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// helper reports whether a package only helps tests, which its name says.
func helper(path string) bool { return strings.HasSuffix(path, "test") }

func ours(path string) bool    { return within(path, Module) }
func local(path string) string { return strings.TrimPrefix(path, Module+"/") }
