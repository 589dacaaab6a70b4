package aioprometheus

import (
	"reflect"

	"github.com/go-aio/aio"
	"github.com/prometheus/client_golang/prometheus"
)

// CollectorOf is a collector of what read returns.
func CollectorOf(read func() aio.Stats) prometheus.Collector { return collector{read: read} }

// Fill gives every number of s, but for the latency, a value of its own, and returns these by
// the names of the fields.
func Fill(s *aio.Stats) map[string]float64 {
	values := make(map[string]float64)
	next := int64(1000)
	fill := func(v reflect.Value) {
		for i := range v.NumField() {
			if v.Field(i).Kind() == reflect.Int64 {
				next++
				v.Field(i).SetInt(next)
				values[v.Type().Field(i).Name] = float64(next)
			}
		}
	}
	fill(reflect.ValueOf(s).Elem())
	fill(reflect.ValueOf(&s.Fallbacks).Elem())
	return values
}
