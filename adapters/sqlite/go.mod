module github.com/go-aio/aio/adapters/sqlite

go 1.26.0

require (
	github.com/go-aio/aio v0.0.0-00010101000000-000000000000
	github.com/ncruces/go-sqlite3 v0.37.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/ncruces/go-sqlite3-wasm/v6 v6.5.35401 // indirect
	github.com/ncruces/julianday v1.0.0 // indirect
	github.com/ncw/directio v1.0.5 // indirect
)

replace github.com/go-aio/aio => ../../
