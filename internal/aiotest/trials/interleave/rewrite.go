package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

const control = "github.com/go-aio/aio/internal/aiotest/trials/interleave/control"

// replaced are the packages for which package control stands in.
var replaced = []string{"runtime", "sync", "sync/atomic", "time"}

// dials are constants of the queue that become variables, with their types.
var dials = map[string]string{
	"collectFrom": "int64", "collectUntil": "int64", "gatherFrom": "int64",
}

// An edit replaces bytes of a file.
type edit struct {
	from, to int
	text     string
}

// A rewriter collects the edits of one file.
type rewriter struct {
	files    *token.FileSet
	sources  map[string]string
	channels map[string]bool // names of fields of a channel type, in all files
	edits    []edit
	tail     string // follows the last line
	err      error
}

// rewrite returns the source of a package main that is like the one of the files given by name, but
// for what package control stands in for. Lines keep their numbers.
func rewrite(sources map[string]string) (map[string]string, error) {
	r := &rewriter{files: token.NewFileSet(), sources: sources, channels: make(map[string]bool)}
	parsed := make(map[string]*ast.File)
	for name, text := range sources {
		f, err := parser.ParseFile(r.files, name, text, 0)
		if err != nil {
			return nil, err
		}
		parsed[name] = f
		ast.Inspect(f, r.findChannels)
	}
	out := make(map[string]string)
	for name, f := range parsed {
		r.edits, r.tail = nil, ""
		r.replace(f.Name, "main")
		r.imports(f)
		r.scopes(name, f)
		ast.Inspect(f, r.rewriteNode)
		if r.err != nil {
			return nil, r.err
		}
		out[name] = r.apply(sources[name])
	}
	return out, nil
}

func (r *rewriter) findChannels(n ast.Node) bool {
	if f, ok := n.(*ast.Field); ok {
		if _, ok := f.Type.(*ast.ChanType); ok {
			for _, name := range f.Names {
				r.channels[name.Name] = true
			}
		}
	}
	return true
}

func (r *rewriter) apply(text string) string {
	slices.SortStableFunc(r.edits, func(a, b edit) int { return a.from - b.from })
	var b strings.Builder
	at := 0
	for _, e := range r.edits {
		b.WriteString(text[at:e.from])
		b.WriteString(e.text)
		at = e.to
	}
	b.WriteString(text[at:])
	b.WriteString(r.tail)
	return b.String()
}

func (r *rewriter) cut(from, to token.Pos, text string) {
	r.edits = append(r.edits, edit{r.files.Position(from).Offset, r.files.Position(to).Offset, text})
}

func (r *rewriter) replace(n ast.Node, text string) { r.cut(n.Pos(), n.End(), text) }

func (r *rewriter) insert(at token.Pos, text string) { r.cut(at, at, text) }

// refuse ends the rewriting: n is beyond package control.
func (r *rewriter) refuse(n ast.Node) {
	if r.err == nil {
		r.err = fmt.Errorf("%v: package control has nothing that stands in for %T", r.files.Position(n.Pos()), n)
	}
}

func (r *rewriter) imports(f *ast.File) {
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if slices.Contains(replaced, path) {
			r.replace(spec, path[strings.LastIndex(path, "/")+1:]+" "+strconv.Quote(control))
		}
	}
	// One line, so that others keep their numbers.
	r.insert(f.Name.End(), "; import control "+strconv.Quote(control))
	r.tail += "\nvar _ control.Duration\n"
}

func (r *rewriter) rewriteNode(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.SelectStmt:
		r.refuse(n)
	case *ast.GoStmt:
		r.goStmt(n)
	case *ast.SendStmt:
		r.cut(n.Arrow, n.Value.Pos(), ".Send(")
		r.insert(n.End(), ")")
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			r.cut(n.OpPos, n.X.Pos(), "")
			r.insert(n.X.End(), ".Receive()")
		}
	case *ast.CallExpr:
		return r.call(n)
	case *ast.ChanType:
		r.cut(n.Begin, n.Value.Pos(), "*control.Chan[")
		r.insert(n.Value.End(), "]")
	case *ast.ExprStmt:
		r.addOnly(n)
	case *ast.GenDecl:
		r.constants(n)
	}
	return true
}

func (r *rewriter) goStmt(n *ast.GoStmt) {
	if len(n.Call.Args) > 0 {
		r.refuse(n)
		return
	}
	start := "control.Go("
	if strings.HasSuffix(r.text(n.Call.Fun), "Fn") { // a field
		start = "control.GoAt(&"
	}
	r.cut(n.Go, n.Call.Fun.Pos(), start)
	r.cut(n.Call.Fun.End(), n.Call.End(), ")")
}

// call rewrites make and len of a channel, and refuses close.
func (r *rewriter) call(n *ast.CallExpr) bool {
	fun, ok := n.Fun.(*ast.Ident)
	if !ok || len(n.Args) == 0 {
		return true
	}
	switch fun.Name {
	case "close":
		r.refuse(n)
	case "len":
		if x, ok := n.Args[0].(*ast.SelectorExpr); ok && r.channels[x.Sel.Name] {
			r.cut(n.Pos(), x.Pos(), "")
			r.cut(x.End(), n.End(), ".Len()")
		}
	case "make":
		if c, ok := n.Args[0].(*ast.ChanType); ok && len(n.Args) == 2 {
			r.cut(n.Pos(), c.Value.Pos(), "control.NewChan[")
			r.cut(c.Value.End(), n.Args[1].Pos(), "](")
			return false
		}
	}
	return true
}

// addOnly marks an Add whose result is not used: two of them may change places.
func (r *rewriter) addOnly(n *ast.ExprStmt) {
	c, ok := n.X.(*ast.CallExpr)
	if !ok {
		return
	}
	if s, ok := c.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Add" && len(c.Args) == 1 {
		r.replace(s.Sel, "AddOnly")
	}
}

// constants makes variables of dials.
func (r *rewriter) constants(n *ast.GenDecl) {
	if n.Tok != token.CONST {
		return
	}
	for _, spec := range n.Specs {
		v := spec.(*ast.ValueSpec)
		typ := dials[v.Names[0].Name]
		if typ == "" {
			continue
		}
		value := v.Values[0].(*ast.BasicLit).Value
		if n.Lparen.IsValid() {
			r.replace(v, "")
		} else {
			r.replace(n, "")
		}
		r.tail += fmt.Sprintf("\nvar %s %s = %s\n", v.Names[0].Name, typ, value)
	}
}
