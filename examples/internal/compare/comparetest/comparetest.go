// Package comparetest tests the programs of package compare.
package comparetest

import (
	"errors"
	"io"
	"testing"

	"github.com/go-aio/aio/examples/internal/compare"
)

// Same runs a program on a small file in every way; Measure fails if the result of one differs from
// that of os.File.
func Same(t *testing.T, program compare.Program) {
	t.Helper()
	o := compare.Options{Dir: t.TempDir(), Size: 4 << 20, Rounds: 1}
	err := program.Measure(io.Discard, o)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Error(err)
	}
	if err := program.Count(io.Discard, o); err != nil {
		t.Error(err)
	}
}
