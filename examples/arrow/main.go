// Arrow reads one column of a Parquet file, and 32 at a time, with github.com/apache/arrow-go.
//
// Lessons:
//
//   - By default a column chunk is read whole, by one ReadAt. That suits direct I/O: it is one
//     request, or one for each MiB, since a chunk does not begin at a multiple of 512 bytes.
//   - With BufferedStreamEnabled it is read by the page, in pieces of BufferSize: 16 KiB by
//     default. For direct I/O, set it to 1 MiB.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
	"github.com/go-aio/aio/examples/internal/compare"
)

const (
	columns = 32
	groups  = 4 // of rows
)

var program = compare.Program{
	Name: "columns.arrow.parquet",
	Make: write,
	Cases: []compare.Case{
		{Name: "1 column, whole chunks", Run: reading(1, chunks())},
		{Name: "1 column, stream of 16 KiB", Run: reading(1, streams(16<<10))},
		{Name: "1 column, stream of 1 MiB", Run: reading(1, streams(1<<20))},
		{Name: "32 columns, whole chunks", Run: reading(columns, chunks())},
		{Name: "32 columns, streams of 16 KiB", Run: reading(columns, streams(16<<10))},
		{Name: "32 columns, streams of 1 MiB", Run: reading(columns, streams(1<<20))},
	},
}

func main() { compare.Main(program) }

func chunks() *parquet.ReaderProperties { return parquet.NewReaderProperties(nil) }

func streams(size int64) *parquet.ReaderProperties {
	p := chunks()
	p.BufferedStreamEnabled, p.BufferSize = true, size
	return p
}

// reading opens the file and reads its first n columns at a time.
func reading(n int, p *parquet.ReaderProperties) func(compare.File) (compare.Result, error) {
	return func(f compare.File) (compare.Result, error) {
		r, err := file.NewParquetReader(f, file.WithReadProps(p))
		if err != nil {
			return compare.Result{}, err
		}
		return compare.Parallel(n, func(i int) (sum compare.Result, err error) {
			for g := range r.NumRowGroups() {
				column, err := r.RowGroup(g).Column(i)
				if err != nil {
					return sum, err
				}
				if err := addUp(column.(*file.Int64ColumnChunkReader), &sum); err != nil {
					return sum, err
				}
			}
			return sum, nil
		})
	}
}

// addUp adds the values of a column chunk to sum.
func addUp(column *file.Int64ColumnChunkReader, sum *compare.Result) error {
	values := make([]int64, 8192)
	for column.HasNext() {
		_, n, err := column.ReadBatch(int64(len(values)), values, nil, nil)
		if err != nil {
			return err
		}
		for _, v := range values[:n] {
			sum.Sum += uint64(v)
		}
		sum.Bytes += 8 * int64(n)
	}
	return column.Err()
}

// write makes a file of 32 columns of random numbers of 64 bits, which no encoding makes smaller.
func write(w io.Writer, size int64) error {
	var fields schema.FieldList
	for i := range columns {
		fields = append(fields, schema.NewInt64Node(fmt.Sprintf("c%02d", i), parquet.Repetitions.Required, -1))
	}
	root, err := schema.NewGroupNode("numbers", parquet.Repetitions.Required, fields, -1)
	if err != nil {
		return err
	}
	p := file.NewParquetWriter(w, root, file.WithWriterProps(parquet.NewWriterProperties(parquet.WithDictionaryDefault(false))))
	random := rand.NewChaCha8([32]byte{})
	numbers, values := make([]byte, size/columns/groups), make([]int64, size/columns/groups/8)
	for range groups {
		group, err := p.AppendRowGroupChecked()
		if err != nil {
			return err
		}
		for range columns {
			column, err := group.NextColumn()
			if err != nil {
				return err
			}
			random.Read(numbers)
			for i := range values {
				values[i] = int64(binary.LittleEndian.Uint64(numbers[8*i:]))
			}
			if _, err := column.(*file.Int64ColumnChunkWriter).WriteBatch(values, nil, nil); err != nil {
				return err
			}
			if err := column.Close(); err != nil {
				return err
			}
		}
		if err := group.Close(); err != nil {
			return err
		}
	}
	return p.Close()
}
