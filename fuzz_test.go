package aio_test

import (
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// FuzzFile runs sequences of operations on os.Files and on aio.Files; see
// aiotest.Machine.
func FuzzFile(f *testing.F) {
	for seed := range uint64(aiotest.ScaledOrFull(60)) {
		r := rand.New(rand.NewPCG(seed, 1))
		program := make([]byte, 20+r.IntN(200))
		for i := range program {
			program[i] = byte(r.Uint32())
		}
		f.Add(program)
	}
	if flag.Lookup("test.fuzz").Value.String() != "" {
		// By default an operation alone would never use kernel AIO.
		aiofile.Must(aio.Configure(aio.Config{SyncLimit: -1}))
	}
	m := aiotest.NewMachine(f, aiotest.Dir(f), aiofile.Roundabout(f, 0), aiotest.Options{})
	f.Fuzz(func(t *testing.T, program []byte) {
		aiotest.Guard(t)
		m.Run(t, program)
	})
}
