//go:build suites

package main

// These are imports of goleveldb's tests, for go.mod and go.sum.
import (
	_ "github.com/onsi/ginkgo"
	_ "github.com/onsi/gomega"
	_ "github.com/syndtr/goleveldb/leveldb"
)
