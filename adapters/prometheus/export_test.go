package aioprometheus

import (
	"reflect"

	"github.com/go-aio/aio"
	"github.com/prometheus/client_golang/prometheus"
)

// CollectorOf returns a collector of the results of read.
func CollectorOf(read func() aio.Stats) prometheus.Collector { return collector{read: read} }

// Fill sets every number of s, except the latency, to a different value, and returns the values by
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
