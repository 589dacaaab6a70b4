//go:build !linux

package sqlite

import (
	"errors"

	"github.com/go-aio/aio"
	"github.com/ncruces/go-sqlite3/vfs"
)

// again returns nothing: here the VFS "os" is as good.
func again(vfs.File, vfs.OpenFlag, bool) (*aio.File, error) { return nil, errors.ErrUnsupported }
