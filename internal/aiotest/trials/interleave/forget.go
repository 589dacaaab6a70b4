package main

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// scoped are files of functions that leave nothing behind but their results, and what they write
// to memory that is in the hash of the state. See control.Enter.
var scoped = []string{"collect.go", "group.go", "lane.go", "queue.go", "submit.go"}

// leaving are functions of these files of which that is not so: reap fills its caller's events, and
// the body of a loop over each writes variables of its function.
var leaving = []string{"reap", "each"}

// A forgetting is a place after which few of the variables of a function matter.
type forgetting struct {
	file   string
	before string // the code that follows the place, which occurs once
	values string // of the variables that matter, besides the arguments of the function
}

var forgettings = []forgetting{
	// s is in the operation that follows.
	{"lane.go", "l.submit(s)", "number(s)"},
	{"group.go", "l.submit(g.last())", ""},
	{"submit.go", "l.submit(nil)\n}\n\n// resume", ""},
	{"submit.go", "l.submit(nil)\n}\n\n// watch", ""},
	{"submit.go", "l.submit(nil)\n}\n\n// fill", ""},
	{"lane.go", "<-s.done\n	n, err := s.result()", ""},
	{"group.go", "<-g.done", ""},
	{"group.go", "if g.relies = c.rely(1)", ""},
	{"collect.go", "q.collect(events, nil)\n		}\n	})", ""},
	{"collect.go", "if q.enough(g) && q.collector.release()", "uint64(idle), uint64(most)"},
	{"collect.go", "n, wait := q.target(g)", "uint64(idle), uint64(most)"},
	{"collect.go", "q.collects.Add(1)", "uint64(idle), uint64(most), uint64(n), uint64(wait)"},
	{
		"collect.go", "q.deliver(events[:got])",
		"uint64(idle), uint64(most), uint64(got), uint64(left), hashEvents(events[:got])",
	},
	{"collect.go", "own := int64(got)", "uint64(idle), uint64(most), uint64(got), uint64(left)"},
	// deliver begins with what its argument is.
	{"collect.go", "q.deliver(b.events[:n])", ""},
	{"collect.go", "now := q.now()", "hashEvents(events)"},
	{"collect.go", "s := slotOf(events[i].Obj)", "uint64(i), hashEvents(events)"},
	{"collect.go", "q.inKernel.Add(-int64(len(events)))", "uint64(len(events))"},
	{"submit.go", "if own != nil && (own.isDone()", ""},
	// World knows before.
	{"submit.go", "all := l.push(b)", "pushes(l, before), hashBatch(b.slots)"},
	{"submit.go", "l.q.look(b)", "truth(all)"},
	{"submit.go", "l.pushes++", "pushed(), truth(all), truth(others)"},
	{"submit.go", "n, err := l.q.kernel.Submit", "hashBatch(slots)"},
}

// constant are comparisons that come out the same in all orders, if there are fewer requests in
// the kernel than they ask for. Then the counters need not be read, and it does not matter when
// they change. World sets the variables to none.
var constant = []struct{ file, old, new string }{
	{"collect.go", "q.moving() >= collectFrom", "collectFrom != none && q.moving() >= collectFrom"},
	{"collect.go", "q.moving() < collectUntil", "collectUntil == none || q.moving() < collectUntil"},
	{"submit.go", "l.inKernel() < gatherFrom", "gatherFrom == none || l.inKernel() < gatherFrom"},
}

// forget inserts what makes goroutines forget into the files, and removes constant comparisons.
// With a bug the text may lack a place, without one it must have all.
func forget(sources map[string]string, b bug) error {
	missing := func(file, text string) error {
		if b == (bug{}) && strings.Count(sources[file], text) != 1 {
			return fmt.Errorf("%s does not have once: %s", file, text)
		}
		return nil
	}
	for _, c := range constant {
		if err := missing(c.file, c.old); err != nil {
			return err
		}
		sources[c.file] = strings.Replace(sources[c.file], c.old, c.new, 1)
	}
	for i, f := range forgettings {
		if err := missing(f.file, f.before); err != nil {
			return err
		}
		if strings.Count(sources[f.file], f.before) == 1 {
			call := fmt.Sprintf("control.Forget(%d, %s); ", i, f.values)
			sources[f.file] = strings.Replace(sources[f.file], f.before, call+f.before, 1)
		}
	}
	return nil
}

// numbered are the types of which control.Leave knows a number for each value.
var numbered = []string{"bool", "int", "int64", "error", "time.Duration"}

// scopes rewrites the functions of a file that leave nothing behind.
func (r *rewriter) scopes(name string, f *ast.File) {
	if !slices.Contains(scoped, name) {
		return
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			r.scope(fn)
		}
	}
}

// scope makes a function begin with control.Enter and end with control.Leave, if a number stands
// for each of its results.
func (r *rewriter) scope(n *ast.FuncDecl) {
	if n.Body == nil || slices.Contains(leaving, n.Name.Name) {
		return
	}
	var results []*ast.Field
	if n.Type.Results != nil {
		results = n.Type.Results.List
	}
	for _, f := range results {
		if !slices.Contains(numbered, r.text(f.Type)) {
			return
		}
	}
	bare := len(results) == 1 && !n.Type.Results.Opening.IsValid()
	if bare {
		r.insert(results[0].Pos(), "(")
	}
	pointers := ""
	for i, f := range results {
		if len(f.Names) == 0 {
			name := fmt.Sprintf("result%d", i)
			r.insert(f.Type.Pos(), name+" ")
			pointers += ", &" + name
		}
		for _, name := range f.Names {
			pointers += ", &" + name.Name
		}
	}
	if bare {
		r.insert(results[0].End(), ")")
	}
	r.insert(n.Body.Lbrace+1, " defer control.Leave(control.Enter()"+pointers+");")
}

// text returns the source of n.
func (r *rewriter) text(n ast.Node) string {
	from, to := r.files.Position(n.Pos()), r.files.Position(n.End())
	return r.sources[from.Filename][from.Offset:to.Offset]
}
