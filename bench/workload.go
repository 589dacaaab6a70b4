//go:build linux

package main

// A workload is one operation, repeated by every goroutine on one file.
type workload string

const (
	readWork  workload = "read"
	writeWork workload = "write"
	syncWork  workload = "sync"

	cachedReadWork  workload = "cached-read"
	cachedWriteWork workload = "cached-write"
	streamReadWork  workload = "stream-read"
	streamWriteWork workload = "stream-write"
	coldReadWork    workload = "cold-read"

	smallWork     workload = "odd-100"
	pageWork      workload = "odd-4k"
	megabyteWork  workload = "odd-1m"
	freshReadWork workload = "fresh-read"

	largeReadWork workload = "large-read"
	copyWork      workload = "copy"

	extendWork workload = "extend"
	fillWork   workload = "fill"

	seqReadWork   workload = "seq-read"
	seqWriteWork  workload = "seq-write"
	logAppendWork workload = "log-append"
	batchReadWork workload = "batch-read"
	batchSyncWork workload = "batch-sync"
)

// defaultWorkloads are the purpose of the library; the others are where it might cost something.
var defaultWorkloads = []workload{readWork, writeWork, syncWork}

var allWorkloads = []workload{
	readWork, writeWork, syncWork,
	cachedReadWork, cachedWriteWork, streamReadWork, streamWriteWork, coldReadWork,
	smallWork, pageWork, megabyteWork, freshReadWork,
	largeReadWork, copyWork, extendWork, fillWork,
	seqReadWork, seqWriteWork, logAppendWork,
	batchReadWork, batchSyncWork,
}

// defaultDepths are the numbers of goroutines, and of fio's requests in flight.
var defaultDepths = []int{1, 2, 4, 8, 32, 128, 1024}

// A spec describes a workload.
type spec struct {
	call     string // as in a Go program
	about    string
	length   int      // bytes of an operation
	depths   []int    // unless -depths says otherwise
	rivals   []engine // the engines that aio.File is compared with
	buffered bool     // aio.File is opened without O_DIRECT, as os.File is

	do func(l *lane) error
	// batched, if not nil, replaces do for aio.File: one goroutine makes, in one Batch, as many
	// operations as the others have goroutines.
	batched func(l *lane) error
	before  func(w *worker) error  // before every round, and not measured
	once    bool                   // a round is one operation of each goroutine, for as long as that takes
	weight  func(size int64) int64 // the weight of one operation; nil: one
	fresh   bool                   // works on a file of its own, which begins empty
	cached  bool                   // report the bytes that a round leaves in the page cache
}

const (
	blockSize = 4096
	mebibyte  = 1 << 20
)

var specs = map[workload]spec{
	readWork: {
		call: "ReadAt", about: "4 KiB at random offsets",
		length: blockSize, depths: defaultDepths, rivals: []engine{osEngine, fioEngine}, do: readRandom,
	},
	writeWork: {
		call: "WriteAt", about: "4 KiB at random offsets, into allocated space",
		length: blockSize, depths: defaultDepths, rivals: []engine{osEngine, fioEngine}, do: writeRandom,
	},
	syncWork: {
		call: "WriteAt+Sync", about: "4 KiB at a random offset, then Sync: one operation is both",
		length: blockSize, depths: defaultDepths, rivals: []engine{osEngine, fioEngine}, do: writeAndSync,
	},
	cachedReadWork: {
		call: "cached ReadAt", about: "4 KiB at random offsets, all of it in the page cache; no O_DIRECT",
		length: blockSize, depths: []int{1, 64}, rivals: []engine{osEngine}, buffered: true, do: readRandom, before: warm,
	},
	cachedWriteWork: {
		call: "cached WriteAt", about: "4 KiB at random offsets, into the page cache; no O_DIRECT",
		length: blockSize, depths: []int{1, 64}, rivals: []engine{osEngine}, buffered: true, do: writeRandom, before: warm,
	},
	streamReadWork: {
		call: "Read", about: "4 KiB at the offset that all goroutines share, from the page cache; no O_DIRECT",
		length: blockSize, depths: []int{1, 64}, rivals: []engine{osEngine}, buffered: true, do: readStream, before: warm,
	},
	streamWriteWork: {
		call: "Write", about: "4 KiB at the offset that all goroutines share, into the page cache; no O_DIRECT",
		length: blockSize, depths: []int{1, 64}, rivals: []engine{osEngine}, buffered: true, do: writeStream, before: warmAtStart,
	},
	coldReadWork: {
		call: "cold ReadAt", about: "4 KiB at random offsets, each once, none of it in the page cache; no O_DIRECT",
		length: blockSize, depths: []int{1, 64, 1024}, rivals: []engine{osEngine}, buffered: true, do: readEach, before: cool,
	},
	smallWork: {
		call: "odd WriteAt+Sync, 100 bytes", about: "100 bytes at random odd offsets, then Sync",
		length: 100, depths: []int{1, 8, 64}, rivals: []engine{cachedEngine}, do: writeOddAndSync,
	},
	pageWork: {
		call: "odd WriteAt+Sync, 4 KiB + 1", about: "4097 bytes at random odd offsets, then Sync",
		length: blockSize + 1, depths: []int{1, 8, 64}, rivals: []engine{cachedEngine}, do: writeOddAndSync,
	},
	megabyteWork: {
		call: "odd WriteAt+Sync, 1 MiB + 1", about: "1 MiB and a byte at random odd offsets, then Sync",
		length: mebibyte + 1, depths: []int{1, 8}, rivals: []engine{cachedEngine}, do: writeOddAndSync,
	},
	freshReadWork: {
		call: "WriteAt, ReadAt", about: "100 bytes at a random odd offset, and the same read back: one operation is both",
		length: 100, depths: []int{1, 8, 64}, rivals: []engine{cachedEngine}, do: writeOddAndRead,
	},
	largeReadWork: {
		call: "large ReadAt", about: "1 MiB at random offsets, each once, none of it in the page cache",
		length: mebibyte, depths: []int{1, 4, 16}, rivals: []engine{osEngine, cachedEngine}, do: readEach, before: cool,
	},
	copyWork: {
		call: "io.Copy", about: "the whole file from its beginning, none of it in the page cache; one operation is 1 MiB",
		length: blockSize, depths: []int{1}, rivals: []engine{osEngine, cachedEngine}, do: copyAll, before: cool,
		once: true, weight: mebibytes,
	},
	extendWork: {
		call: "extending WriteAt", about: "4 KiB at the end of a file that begins empty",
		length: blockSize, depths: []int{1, 8, 64}, rivals: []engine{osEngine}, do: extend, before: empty, fresh: true,
	},
	fillWork: {
		call: "filling WriteAt", about: "4 KiB into holes, in random order and each once",
		length: blockSize, depths: []int{1, 8, 64}, rivals: []engine{osEngine}, do: fillHoles, before: hollow, fresh: true,
	},
	seqReadWork: {
		call: "stream.Reader", about: "the whole file from its beginning, none of it in the page cache; os.File in pieces of 1 MiB; one operation is 1 MiB",
		length: mebibyte, depths: []int{1}, rivals: []engine{cachedEngine}, do: readThrough, before: cool,
		once: true, weight: mebibytes, cached: true,
	},
	seqWriteWork: {
		call: "stream.Writer", about: "a new file from its beginning, then Sync; os.File in pieces of 1 MiB; one operation is 1 MiB",
		length: mebibyte, depths: []int{1}, rivals: []engine{cachedEngine}, do: writeThrough, before: empty,
		once: true, weight: mebibytes, cached: true, fresh: true,
	},
	logAppendWork: {
		call: "stream.Writer, Exclusive: Write+Sync", about: "200 bytes at the end of a file that begins empty, then Sync; os.File with O_APPEND: one operation is both",
		length: 200, depths: []int{1, 8, 64}, rivals: []engine{cachedEngine}, do: appendAndSync, before: emptyLog, fresh: true,
	},
	batchReadWork: {
		call: "Batch of ReadAt", about: "4 KiB at random offsets; aio.File's by one goroutine, one read for each goroutine in a Batch",
		length: blockSize, depths: []int{32}, rivals: []engine{osEngine, fioEngine}, do: readRandom, batched: batchRead,
	},
	batchSyncWork: {
		call: "Batch of WriteAt, Sync", about: "4 KiB at a random offset, then Sync; aio.File's by one goroutine, with one write for each goroutine and one Sync in a Batch",
		length: blockSize, depths: []int{128}, rivals: []engine{osEngine}, do: writeAndSync, batched: batchSync,
	},
}

func mebibytes(size int64) int64 { return size / mebibyte }

// reads reports whether fio reads in this workload.
func (w workload) reads() bool { return w == readWork || w == batchReadWork }

func (w workload) spec() spec       { return specs[w] }
func (w workload) call() string     { return specs[w].call }
func (w workload) describe() string { return specs[w].about }

// An engine is one way to do a workload.
type engine string

const (
	osEngine     engine = "os.File"
	cachedEngine engine = "os cached" // os.File without O_DIRECT where aio.File has it
	aioEngine    engine = "aio.File"
	fioEngine    engine = "fio libaio"
)

var allEngines = []engine{osEngine, cachedEngine, aioEngine, fioEngine}

// direct reports whether e opens the file with O_DIRECT in workload w, on a filesystem that has it.
func (e engine) direct(w workload) bool {
	return e != cachedEngine && !w.spec().buffered
}
