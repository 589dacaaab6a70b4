module github.com/go-aio/aio

go 1.25.0

require (
	github.com/ncw/directio v1.0.5
	golang.org/x/sys v0.47.0
)
