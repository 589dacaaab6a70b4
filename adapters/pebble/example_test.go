package aiopebble_test

import (
	"fmt"
	"log"
	"os"

	"github.com/cockroachdb/pebble/v2"
	aiopebble "github.com/go-aio/aio/adapters/pebble"
)

// The database is much larger than memory, and its cache is Pebble's.
func Example() {
	dir, err := os.MkdirTemp("", "pebble-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cache := pebble.NewCache(64 << 20)
	defer cache.Unref()
	db, err := pebble.Open(dir, &pebble.Options{
		FS:    aiopebble.New(aiopebble.Options{DirectReads: true, ExclusiveWAL: true}),
		Cache: cache,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if err := db.Set([]byte("hello"), []byte("disk"), pebble.Sync); err != nil {
		log.Fatal(err)
	}
	value, closer, err := db.Get([]byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	defer closer.Close()
	fmt.Printf("%s\n", value)
	// Output: disk
}
