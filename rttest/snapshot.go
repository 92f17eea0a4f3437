package rttest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
)

// A snapshot is what a caller's request was like. Comparing reads all of the
// request, so that a comparison in another goroutine also shows an
// unsynchronised write to the race detector.
type snapshot struct {
	ctx     context.Context
	fields  map[string]any
	url     url.URL
	header  http.Header
	trailer http.Header
	coding  []string
}

func snap(req *http.Request) snapshot {
	return snapshot{
		ctx:     req.Context(),
		fields:  fieldsOf(req),
		url:     *req.URL,
		header:  spread(req.Header),
		trailer: spread(req.Trailer),
		coding:  slices.Clone(req.TransferEncoding),
	}
}

// diff names the first thing that changed, "" if nothing did.
func (s snapshot) diff(req *http.Request) string {
	now := fieldsOf(req)
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if now[name] != s.fields[name] {
			return fmt.Sprintf("field %s was replaced", name)
		}
	}
	switch {
	case req.Context() != s.ctx:
		return "the context was replaced"
	case *req.URL != s.url:
		return fmt.Sprintf("URL became %v, was %v", req.URL, &s.url)
	case !slices.Equal(req.TransferEncoding, s.coding):
		return fmt.Sprintf("TransferEncoding became %q", req.TransferEncoding)
	}
	if d := diffHeader(spread(req.Header), s.header); d != "" {
		return "Header: " + d
	}
	if d := diffHeader(spread(req.Trailer), s.trailer); d != "" {
		return "Trailer: " + d
	}
	return ""
}

// fieldsOf is the identity of every exported field: pointers, maps and slices
// are compared by what they refer to, whatever is in there.
func fieldsOf(req *http.Request) map[string]any {
	fields := map[string]any{}
	v := reflect.ValueOf(req).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if !v.Type().Field(i).IsExported() {
			continue
		}
		name := v.Type().Field(i).Name
		switch f.Kind() {
		case reflect.Func, reflect.Map, reflect.Pointer, reflect.Chan:
			fields[name] = f.Pointer()
		case reflect.Slice:
			fields[name] = [3]any{f.Pointer(), f.Len(), f.Cap()}
		default:
			fields[name] = f.Interface()
		}
	}
	return fields
}

// spread copies a header with what lies between length and capacity of its
// values: appending there does not show in the map, but two clones that share
// the array overwrite each other's values.
func spread(h http.Header) http.Header {
	all := make(http.Header, len(h))
	for key, values := range h {
		all[key] = slices.Clone(values[:cap(values)])
	}
	return all
}

// diffHeader names the first difference between what is and what was.
func diffHeader(is, was http.Header) string {
	for _, key := range slices.Sorted(maps.Keys(was)) {
		if values, ok := is[key]; !ok {
			return fmt.Sprintf("%q is missing", key)
		} else if !slices.Equal(values, was[key]) {
			return fmt.Sprintf("%q is %q, was %q", key, values, was[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if _, ok := was[key]; !ok {
			return fmt.Sprintf("%q was added", key)
		}
	}
	return ""
}
