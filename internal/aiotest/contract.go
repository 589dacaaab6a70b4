package aiotest

import (
	"bytes"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing/iotest"
	"time"
)

// A Case makes calls on an os.File and on an aio.File.
type Case struct {
	Name string
	Do   func(s *Side)
	Root bool // it mounts something
}

// Contract has all cases that run in any directory: first those of one subject, then every method
// on every kind of file.
var Contract = slices.Concat([]Case{
	{Name: "ReadAt and WriteAt of any offset, length and address", Do: anyAlignment},
	{Name: "ReadAt around the end", Do: readsAroundEnd},
	{Name: "WriteAt around the end", Do: writesAroundEnd},
	{Name: "offsets that no file has", Do: impossibleOffsets},
	{Name: "nothing to transfer", Do: transfersOfNothing},
	{Name: "ReadvAt and WritevAt", Do: vectoredCalls},
	{Name: "ReadvAt and WritevAt that cannot be", Do: vectoredImpossible},
	{Name: "Read, Write and Seek", Do: streamCalls},
	{Name: "io.Copy", Do: copies},
	{Name: "Truncate", Do: truncations},
	{Name: "Allocate and PunchHole", Do: allocations},
	{Name: "flags", Do: openFlags},
	{Name: "O_APPEND", Do: appending},
	{Name: "errors of opening", Do: openErrors},
	{Name: "opening functions", Do: openFunctions},
	{Name: "names that went away", Do: unlinked},
	{Name: "directory", Do: directory},
	{Name: "devices and /proc", Do: specialFiles},
	{Name: "named pipe", Do: namedPipe},
	{Name: "NewFile", Do: newFiles},
	{Name: "metadata", Do: metadata},
}, systemCases, everyMethod(kinds), everyMethod(systemKinds))

// Methods calls every method of a File, with arguments that matter. None of the calls blocks for
// ever on a file that has an end, and none leaves a large file behind.
var Methods = map[string]func(f File) []any{
	"Chdir":            func(f File) []any { return []any{f.Chdir()} },
	"Chmod":            func(f File) []any { return []any{f.Chmod(0o644)} },
	"Chown":            func(f File) []any { return []any{f.Chown(-1, -1)} },
	"Close":            func(f File) []any { return []any{f.Close()} },
	"Fd":               func(f File) []any { return []any{f.Fd() == ^uintptr(0)} },
	"Name":             func(f File) []any { return []any{f.Name()} },
	"Read":             func(f File) []any { return read(f, make([]byte, 100)) },
	"ReadAt":           func(f File) []any { return readAt(f, Buffer(4096, 0), 0) },
	"ReadDir":          func(f File) []any { return results(f.ReadDir(-1)) },
	"ReadFrom":         func(f File) []any { return results(f.ReadFrom(strings.NewReader("text"))) },
	"Readdir":          func(f File) []any { return results(f.Readdir(-1)) },
	"Readdirnames":     func(f File) []any { return results(f.Readdirnames(-1)) },
	"Seek":             func(f File) []any { return results(f.Seek(1, io.SeekStart)) },
	"SetDeadline":      func(f File) []any { return deadline(f.SetDeadline) },
	"SetReadDeadline":  func(f File) []any { return deadline(f.SetReadDeadline) },
	"SetWriteDeadline": func(f File) []any { return deadline(f.SetWriteDeadline) },
	"Stat":             func(f File) []any { return results(f.Stat()) },
	"Sync":             func(f File) []any { return []any{f.Sync()} },
	"Truncate":         func(f File) []any { return []any{f.Truncate(10)} },
	"Write":            func(f File) []any { return results(f.Write([]byte("text"))) },
	"WriteAt":          func(f File) []any { return results(f.WriteAt(Pattern(4096, 1), 0)) },
	"WriteString":      func(f File) []any { return results(f.WriteString("text")) },
	"WriteTo": func(f File) []any {
		var to bytes.Buffer
		n, err := f.WriteTo(&to)
		return []any{n, err, to.Bytes()}
	},
	"SyscallConn": func(f File) []any {
		c, err := f.SyscallConn()
		if err != nil {
			return []any{c == nil, err}
		}
		return []any{err, c.Control(func(uintptr) {}), c.Read(func(uintptr) bool { return true })}
	},
	// These are not names of methods, but other ways to call them.
	"Read blocks":                  func(f File) []any { return read(f, Buffer(8192, 0)) },
	"Read nothing":                 func(f File) []any { return read(f, nil) },
	"ReadAt blocks":                func(f File) []any { return readAt(f, Buffer(8192, 0), 4096) },
	"ReadAt an odd address":        func(f File) []any { return readAt(f, Buffer(4096, 1), 4096) },
	"ReadAt unaligned":             func(f File) []any { return readAt(f, make([]byte, 100), 1) },
	"ReadAt nothing":               func(f File) []any { return readAt(f, nil, 0) },
	"ReadAt a negative offset":     func(f File) []any { return readAt(f, make([]byte, 1), -1) },
	"ReadAt nothing, negative":     func(f File) []any { return readAt(f, nil, -1) },
	"ReadAt far beyond the end":    func(f File) []any { return readAt(f, Buffer(4096, 0), 1<<43) },
	"ReadAt beyond all offsets":    func(f File) []any { return readAt(f, Buffer(8192, 0), math.MaxInt64-4095) },
	"ReadFrom blocks":              func(f File) []any { return results(f.ReadFrom(bytes.NewReader(Pattern(8192, 2)))) },
	"ReadFrom nothing":             func(f File) []any { return results(f.ReadFrom(strings.NewReader(""))) },
	"ReadFrom an error":            func(f File) []any { return results(f.ReadFrom(iotest.ErrReader(io.ErrNoProgress))) },
	"Write blocks":                 func(f File) []any { return results(f.Write(Pattern(8192, 3))) },
	"Write nothing":                func(f File) []any { return results(f.Write(nil)) },
	"WriteAt blocks":               func(f File) []any { return results(f.WriteAt(alignedPattern(8192, 4), 4096)) },
	"WriteAt an odd address":       func(f File) []any { return results(f.WriteAt(alignedPattern(4097, 5)[1:], 4096)) },
	"WriteAt unaligned":            func(f File) []any { return results(f.WriteAt(Pattern(100, 6), 1)) },
	"WriteAt nothing":              func(f File) []any { return results(f.WriteAt(nil, 0)) },
	"WriteAt a negative offset":    func(f File) []any { return results(f.WriteAt(make([]byte, 1), -1)) },
	"WriteAt nothing, negative":    func(f File) []any { return results(f.WriteAt(nil, -1)) },
	"WriteAt beyond all offsets":   func(f File) []any { return results(f.WriteAt(Buffer(8192, 0), math.MaxInt64-4095)) },
	"WriteString nothing":          func(f File) []any { return results(f.WriteString("")) },
	"Truncate negative":            func(f File) []any { return []any{f.Truncate(-1)} },
	"Truncate up":                  func(f File) []any { return []any{f.Truncate(30000)} },
	"Truncate to the largest size": func(f File) []any { return []any{f.Truncate(math.MaxInt64), f.Truncate(9000)} },
	"Seek nowhere":                 func(f File) []any { return results(f.Seek(0, 17)) },
	"Seek to the end":              func(f File) []any { return results(f.Seek(-1, io.SeekEnd)) },
	"Seek negative":                func(f File) []any { return results(f.Seek(-1, io.SeekStart)) },
	// Only aio.File has these; see beyond.go.
	"ReadvAt blocks":              func(f File) []any { return readvAt(f, Split(0, 4096, 4096), 4096) },
	"ReadvAt unaligned":           func(f File) []any { return readvAt(f, Split(0, 100, 0, 200), 1) },
	"ReadvAt one":                 func(f File) []any { return readvAt(f, Split(0, -1, 4096), 0) },
	"ReadvAt nothing":             func(f File) []any { return readvAt(f, nil, 0) },
	"ReadvAt nothing, negative":   func(f File) []any { return readvAt(f, Split(0, 0, -1), -1) },
	"ReadvAt a negative offset":   func(f File) []any { return readvAt(f, Split(0, 1, 1), -1) },
	"ReadvAt beyond all offsets":  func(f File) []any { return readvAt(f, Split(0, 4096, 4096), math.MaxInt64-4095) },
	"ReadvAt to beyond all, tiny": func(f File) []any { return readvAt(f, Split(0, same(1100, 8)...), math.MaxInt64-8500) },
	"WritevAt blocks":             func(f File) []any { return results(WritevAt(f, fillVector(Split(0, 4096, 4096), 7), 4096)) },
	"WritevAt unaligned":          func(f File) []any { return results(WritevAt(f, fillVector(Split(0, 100, 0, 200), 8), 1)) },
	"WritevAt many":               func(f File) []any { return results(WritevAt(f, fillVector(Split(0, same(1100, 8)...), 9), 0)) },
	"WritevAt nothing":            func(f File) []any { return results(WritevAt(f, nil, 0)) },
	"WritevAt nothing, negative":  func(f File) []any { return results(WritevAt(f, Split(0, 0, -1), -1)) },
	"WritevAt a negative offset":  func(f File) []any { return results(WritevAt(f, Split(0, 1, 1), -1)) },
	"Allocate":                    func(f File) []any { return []any{Allocate(f, 5000, 20000)} },
	"Allocate existing bytes":     func(f File) []any { return []any{Allocate(f, 0, 100)} },
	"Allocate nothing":            func(f File) []any { return []any{Allocate(f, 0, 0)} },
	"Allocate negative":           func(f File) []any { return []any{Allocate(f, -1, 10), Allocate(f, 0, -10)} },
	"Allocate beyond all offsets": func(f File) []any { return []any{Allocate(f, math.MaxInt64-5, 10)} },
	"PunchHole":                   func(f File) []any { return []any{PunchHole(f, 100, 8192)} },
	"PunchHole beyond the end":    func(f File) []any { return []any{PunchHole(f, 1<<20, 4096)} },
	"PunchHole nothing":           func(f File) []any { return []any{PunchHole(f, 0, 0)} },
	"PunchHole negative":          func(f File) []any { return []any{PunchHole(f, -1, 10), PunchHole(f, 0, -10)} },
	"WritevAt beyond all offsets": func(f File) []any {
		return results(WritevAt(f, Split(0, 4096, 4096), math.MaxInt64-4095))
	},
	"Seek far, and back": func(f File) []any {
		far, err := f.Seek(math.MaxInt64, io.SeekStart)
		values := append([]any{far, err}, read(f, Buffer(4096, 0))...)
		back, err := f.Seek(3, io.SeekStart)
		return append(values, back, err)
	},
}

func results[V any](v V, err error) []any { return []any{v, err} }

func read(f File, p []byte) []any {
	n, err := f.Read(p)
	return []any{n, err, p[:n]}
}

func readAt(f File, p []byte, off int64) []any {
	n, err := f.ReadAt(p, off)
	return []any{n, err, p[:n]}
}

// deadline sets a deadline that has passed, and none again.
func deadline(set func(time.Time) error) []any {
	return []any{set(time.Now()), set(time.Time{})}
}

func alignedPattern(n int, seed byte) []byte {
	p := Buffer(n, 0)
	copy(p, Pattern(n, seed))
	return p
}

// Every makes all calls of Methods, and Close last. between runs before each.
func Every(s *Side, f File, between ...func()) {
	var names []string
	for name := range Methods {
		if name != "Close" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range append(names, "Close") {
		for _, do := range between {
			do()
		}
		s.Do(name, func() []any { return Methods[name](f) })
	}
}

// Buffer returns n bytes whose address is shift beyond a multiple of 4096.
func Buffer(n, shift int) []byte {
	p := make([]byte, n+shift+4096)
	skip := shift + int(-reflect.ValueOf(p).Pointer()&4095)
	return p[skip : skip+n : skip+n]
}

// Pattern returns n bytes. No block of them equals another block, or a hole. There are 256 patterns
// of that length.
func Pattern(n int, seed byte) []byte { return slices.Clone(noise()[int(seed)*997:][:n]) }

// noise is the source of the patterns.
var noise = sync.OnceValue(func() []byte {
	p := make([]byte, 8<<20)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x>>24) | 1
	}
	return p
})
