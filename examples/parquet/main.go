// Parquet reads one column of a Parquet file, and 32 at a time, with
// github.com/parquet-go/parquet-go.
//
// Lessons:
//
//   - A page is read by two requests: one of [parquet.ReadBufferSize], 4 KiB by default, for its
//     header, and one for the rest. Through the page cache the first costs little. With direct I/O
//     it takes as long as a larger one, and the next begins after it.
//   - With buffers of 1 MiB a column chunk takes a few requests.
//   - Opening a file takes five small requests, one after the other, all but one at its end. Keep
//     the [parquet.File] if the file is read more than once.
//   - 32 columns at a time are as fast as the disk either way; with direct I/O they take less
//     processor time.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/go-aio/aio/examples/internal/compare"
	"github.com/parquet-go/parquet-go"
)

const (
	columns = 32
	groups  = 4 // of rows
)

var program = compare.Program{
	Name: "columns.parquet",
	Make: write,
	Cases: []compare.Case{
		{Name: "open", Run: reading(0)},
		{Name: "1 column", Run: reading(1)},
		{Name: "1 column, buffer of 1 MiB", Run: reading(1, parquet.ReadBufferSize(1<<20))},
		{Name: "32 columns", Run: reading(columns)},
		{Name: "32 columns, buffers of 1 MiB", Run: reading(columns, parquet.ReadBufferSize(1<<20))},
	},
}

func main() { compare.Main(program) }

// reading opens the file and reads its first n columns at a time.
func reading(n int, options ...parquet.FileOption) func(compare.File) (compare.Result, error) {
	return func(f compare.File) (compare.Result, error) {
		fi, err := f.Stat()
		if err != nil {
			return compare.Result{}, err
		}
		file, err := parquet.OpenFile(f, fi.Size(), options...)
		if err != nil {
			return compare.Result{}, err
		}
		if n == 0 {
			return compare.Result{Bytes: int64(file.NumRows())}, nil
		}
		return compare.Parallel(n, func(i int) (sum compare.Result, err error) {
			for _, group := range file.RowGroups() {
				if err := addUp(group.ColumnChunks()[i].Pages(), &sum); err != nil {
					return sum, err
				}
			}
			return sum, nil
		})
	}
}

// addUp adds the values of all pages to sum.
func addUp(pages parquet.Pages, sum *compare.Result) error {
	defer pages.Close()
	for {
		page, err := pages.ReadPage()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		data := page.Data()
		for _, v := range data.Int64() {
			sum.Sum += uint64(v)
		}
		sum.Bytes += 8 * page.NumValues()
		parquet.Release(page)
	}
}

// write makes a file of 32 columns of random numbers of 64 bits, which no encoding makes smaller.
func write(w io.Writer, size int64) error {
	root := parquet.Group{}
	for i := range columns {
		root[fmt.Sprintf("c%02d", i)] = parquet.Encoded(parquet.Int(64), &parquet.Plain)
	}
	rows := size / columns / 8
	p := parquet.NewWriter(w, parquet.NewSchema("numbers", root), parquet.MaxRowsPerRowGroup(rows/groups))
	random := rand.NewChaCha8([32]byte{})
	row, numbers := make(parquet.Row, columns), make([]byte, 8*columns)
	for range rows {
		random.Read(numbers)
		for i := range row {
			row[i] = parquet.Int64Value(int64(binary.LittleEndian.Uint64(numbers[8*i:]))).Level(0, 0, i)
		}
		if _, err := p.WriteRows([]parquet.Row{row}); err != nil {
			return err
		}
	}
	return p.Close()
}
