// Command vetports vets the packages in and below the working directory, and their tests, for the
// ports that are its arguments:
//
//	vetports linux/s390x windows/arm64
//
// It finds what go vet finds. But go vet needs export data, for which the go command compiles the
// standard library once for each port. Vetports type-checks all packages from source instead, and
// parses each file once for all ports.
//
// It is for what the root module has. Not for assembly: the analyzers of it ask for the port of
// the process. What only the compiler finds, as a type that is too large, it does not find.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"
)

var (
	fset  = token.NewFileSet()
	files sync.Map // of a name, what parses that file once
)

func main() {
	failed := false
	for _, port := range os.Args[1:] {
		fmt.Println(port)
		for _, line := range vet(port) {
			fmt.Println(line)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// vet returns what is wrong on a port.
func vet(port string) []string {
	goos, goarch, _ := strings.Cut(port, "/")
	pkgs, err := packages.Load(&packages.Config{
		Mode:      packages.LoadAllSyntax | packages.NeedModule | packages.NeedForTest,
		Env:       append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0"),
		Tests:     true,
		Fset:      fset,
		ParseFile: parse,
	}, "./...")
	if err != nil {
		return []string{err.Error()}
	}
	if len(pkgs) == 0 {
		return []string{"no packages"}
	}
	wrong := map[string]bool{}
	var errs []packages.Error
	for pkg := range packages.Postorder(pkgs) {
		errs = append(errs, pkg.Errors...)
	}
	// Kinds are in the order of work: a file that cannot be parsed leads to errors of types.
	for _, err := range errs {
		if !slices.ContainsFunc(errs, func(e packages.Error) bool { return e.Kind < err.Kind }) {
			wrong[err.Error()] = true
		}
	}
	if len(wrong) > 0 {
		return slices.Sorted(maps.Keys(wrong))
	}

	// As go vet does, take a package with its tests for the package. The main package of a test
	// is written by the go command.
	vetted := map[string]*packages.Package{}
	for _, pkg := range pkgs {
		if strings.HasSuffix(pkg.ID, ".test") {
			continue
		}
		if vetted[pkg.PkgPath] == nil || pkg.ForTest == pkg.PkgPath {
			vetted[pkg.PkgPath] = pkg
		}
	}
	graph, err := checker.Analyze(suite, slices.Collect(maps.Values(vetted)), nil)
	if err != nil {
		return []string{err.Error()}
	}
	for _, action := range graph.Roots {
		if action.Err != nil {
			wrong[fmt.Sprintf("%v: %v", action, action.Err)] = true
		}
		for _, d := range action.Diagnostics {
			wrong[fmt.Sprintf("%v: %s", fset.Position(d.Pos), d.Message)] = true
		}
	}
	return slices.Sorted(maps.Keys(wrong))
}

// parse parses a file that no port before has had.
func parse(_ *token.FileSet, name string, src []byte) (*ast.File, error) {
	once, _ := files.LoadOrStore(name, sync.OnceValues(func() (*ast.File, error) {
		return parser.ParseFile(fset, name, src, parser.ParseComments)
	}))
	return once.(func() (*ast.File, error))()
}
