//go:build suites

package main

// What the tests of goleveldb import, so that go.mod and go.sum have it.
import (
	_ "github.com/onsi/ginkgo"
	_ "github.com/onsi/gomega"
	_ "github.com/syndtr/goleveldb/leveldb"
)
