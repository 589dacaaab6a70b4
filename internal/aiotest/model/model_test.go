// Package model tests package aio against package os at length: it runs random programs on two
// files, compares all observable results after every step, and in the end the bytes on the block
// device.
package model

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// The default programs are the same in each run. Others:
//
//	go test -timeout 0 ./internal/aiotest/model -v -run TestModel -model.seed 1000000 -model.steps 1000000
var (
	seed  = flag.Uint64("model.seed", 1, "`seed` of the first program; the next has the next")
	steps = flag.Int("model.steps", 0, "run programs of `steps` in total, 10000 if it is 0, fewer with -short and -race")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		// By default an operation alone would never use kernel AIO.
		aiofile.Must(aio.Configure(aio.Config{SyncLimit: -1}))
	}
	aiotest.Main(m, aiofile.Count, nil)
}

// sizes are the initial sizes of the files: at the borders of blocks and buffers, and beside them.
var sizes = func() []int {
	var all []int
	for _, n := range []int{0, 511, 512, 4095, 4096, 2 << 20} {
		for _, d := range []int{0, -1, 1, -512, 512} {
			all = append(all, max(n+d, 0))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}()

func TestModel(t *testing.T) {
	run(t, aiotest.Dir(t), *seed, stepsOr(10000))
}

// stepsOr returns the value of -model.steps, or else n.
func stepsOr(n int) int {
	if *steps > 0 {
		return *steps
	}
	return aiotest.Scaled(n)
}

// run runs programs in dir, and returns the number of bytes of the device compared.
func run(t *testing.T, dir string, seed uint64, steps int) (raw int64) {
	t.Helper()
	disk := aiotest.OpenDisk(t, dir)
	secret := newSecret(t, dir)
	opt := aiotest.Options{Steps: 120, Long: true, Between: secret.read}
	opt.Finished = func(t testing.TB, name string, content []byte) {
		raw += secret.check(t, disk, name, content)
	}
	m := aiotest.NewMachine(t, dir, aiofile.Roundabout(t, 0), opt)
	programs := 0
	for ; m.Count().Steps < steps && !t.Failed(); programs++ {
		s := seed + uint64(programs)
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			aiotest.Guard(t)
			for k := range 4 * sizeClasses {
				secret.read(k)
			}
			m.RunOn(t, sizes[s%uint64(len(sizes))], int(s*43%4096), program(s))
			if t.Failed() {
				t.Logf("again: go test ./internal/aiotest/model -run '^%s$' -model.seed %d -model.steps 1",
					strings.Split(t.Name(), "/")[0], s)
			}
		})
	}
	c := m.Count()
	addresses := 0
	for _, used := range c.Addresses {
		if used {
			addresses++
		}
	}
	t.Logf("seeds %d to %d: %d programs, %d steps, %d MiB compared, %d KiB of them on the device, buffers at %d addresses modulo 4096",
		seed, seed+uint64(programs)-1, programs, c.Steps, c.Bytes>>20, raw>>10, addresses)
	return raw
}

func program(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	p := make([]byte, 2000)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// sizeClasses is the number of sizes of bounce buffers, 4 KiB to 1 MiB.
const sizeClasses = 9

// A secret is another file, whose bytes fill the bounce buffers of the process. They must not
// appear anywhere else.
type secret struct {
	testing.TB
	file *aio.File
	buf  []byte
}

// word is repeated in the secret. All bytes of aiotest.Pattern are odd, and all bytes of word even.
// So a single byte tells its origin.
const word = "BDFHJLNPRTVXZ02468ZXVTRPNLJHFDB "

// betrays returns the index of a byte of the secret in p, or -1.
func betrays(p []byte) int {
	return slices.IndexFunc(p, func(b byte) bool { return b&1 == 0 && b != 0 })
}

func newSecret(t testing.TB, dir string) *secret {
	name := filepath.Join(dir, "secret")
	if err := os.WriteFile(name, bytes.Repeat([]byte(word), 2<<20/len(word)), 0o600); err != nil {
		t.Fatal(err)
	}
	return &secret{TB: t, file: aiofile.Open(t, name, os.O_RDONLY|aio.O_DIRECT), buf: aiotest.Buffer(1<<20, 1)}
}

// read reads into a buffer at an odd address, with the length of a class of bounce buffers.
func (s *secret) read(k int) {
	p := s.buf[:4096<<(k%sizeClasses)]
	if n, err := s.file.ReadAt(p, int64(k%4)*4096); n != len(p) || err != nil || string(p[:len(word)]) != word {
		s.Errorf("ReadAt of %d bytes of the secret: %d, %v", len(p), n, err)
	}
}

// check compares a file with its bytes on the device, if the device can be read.
func (s *secret) check(t testing.TB, disk *aiotest.Disk, name string, content []byte) int64 {
	t.Helper()
	if i := betrays(content); i >= 0 {
		t.Errorf("%s: byte %d is one of the secret", name, i)
	}
	if disk == nil {
		return 0
	}
	extents, err := disk.Extents(name)
	if err != nil {
		t.Fatal(err)
	}
	n, tail, err := aiotest.CheckExtents(extents, content, disk.Block)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if i := betrays(tail); i >= 0 {
		t.Errorf("%s: byte %d after the end is one of the secret on the device", name, i)
	}
	if i := slices.IndexFunc(tail, func(b byte) bool { return b != 0 }); i >= 0 && disk.Clears {
		t.Errorf("%s: byte %d after the end is %#x on the device; want 0", name, i, tail[i])
	}
	return n + int64(len(tail))
}

// TestCheckExtents changes the bytes on the device, or the expected ones.
func TestCheckExtents(t *testing.T) {
	aiotest.Guard(t)
	content := aiotest.Pattern(10000, 1)
	holed := bytes.Clone(content)
	clear(holed[4096:8192])
	onDevice := append(bytes.Clone(content), make([]byte, 1<<20)...)
	onDevice[10000], onDevice[12287], onDevice[12288] = 'a', 'b', 'c'
	whole := aiotest.Extent{Len: 12288, Data: onDevice[:12288]}
	changed := func(i int) aiotest.Extent {
		p := bytes.Clone(whole.Data)
		p[i] ^= 2
		return aiotest.Extent{Len: 12288, Data: p}
	}
	first := aiotest.Extent{Len: 4096, Data: content[:4096]}
	third := aiotest.Extent{Off: 8192, Len: 1 << 19, Data: onDevice[8192:][:1<<19]}
	unwritten := aiotest.Extent{State: aiotest.Zeros, Off: 4096, Len: 4096}
	unknown := aiotest.Extent{State: aiotest.Unknown, Off: 4096, Len: 4096}
	for _, c := range []struct {
		name    string
		content []byte
		want    int64 // bytes compared, -1 for an error
		tail    string
		extents []aiotest.Extent
	}{
		{"all of it", content, 10000, "ab", []aiotest.Extent{whole}},
		{"the first byte differs", content, -1, "", []aiotest.Extent{changed(0)}},
		{"the last byte differs", content, -1, "", []aiotest.Extent{changed(9999)}},
		{"a block more", onDevice[:12289], -1, "", []aiotest.Extent{whole}},
		{"a block is missing", content, -1, "", []aiotest.Extent{first, third}},
		{"the last block is missing", content, -1, "", []aiotest.Extent{first}},
		{"a hole", holed, 5904, "ab", []aiotest.Extent{first, third}},
		{"unwritten", holed, 5904, "ab", []aiotest.Extent{first, unwritten, third}},
		{"unwritten where it is not", content, -1, "", []aiotest.Extent{first, unwritten, third}},
		{"unknown", content, 5904, "ab", []aiotest.Extent{first, unknown, third}},
		{"nothing", content, -1, "", nil},
		{"nothing of an empty file", nil, 0, "", nil},
		{"an empty file with blocks", nil, 0, "", []aiotest.Extent{whole}},
		{"an end in a hole", make([]byte, 5000), 0, "", nil},
	} {
		n, tail, err := aiotest.CheckExtents(c.extents, c.content, 4096)
		if err != nil {
			n = -1
		}
		if tail := string(bytes.ReplaceAll(tail, []byte{0}, nil)); n != c.want || tail != c.tail {
			t.Errorf("%s: %d, %q, %v; want %d, %q", c.name, n, tail, err, c.want, c.tail)
		}
	}
	if betrays(onDevice) != 12287 || betrays([]byte(word)) != 0 || betrays(aiotest.Pattern(4<<20, 0)) >= 0 {
		t.Errorf("the secret is not told from a pattern")
	}
}
