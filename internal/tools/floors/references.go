package main

import (
	"cmp"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"

	"github.com/seed-9e4f5248/snubber/internal/tools/source"
)

// A reference is one use, in one file of a package, of a name that another
// file of the package declares.
type reference struct {
	from string // the file that refers, without its directory
	pos  token.Position
	name string // "Name", or "Type.Name" for a field or a method
	to   string // the file that declares the name
}

// references lists every reference between files of pkg, in the order of the
// source. A selector that goes through an embedded field refers to that field
// too, although the source does not name it. A local name is never among them:
// another file cannot use it.
func references(pkg *source.Package) []reference {
	var (
		refs   []reference
		owners = fieldOwners(pkg.Types)
	)
	add := func(at token.Pos, obj types.Object) {
		obj = origin(obj)
		if obj == nil || obj.Pkg() != pkg.Types {
			return
		}
		pos := pkg.Fset.Position(at)
		from, to := filepath.Base(pos.Filename), filepath.Base(pkg.Fset.Position(obj.Pos()).Filename)
		if from != to {
			refs = append(refs, reference{from, pos, qualified(obj, owners), to})
		}
	}
	for id, obj := range pkg.Info.Uses {
		add(id.Pos(), obj)
	}
	for sel, s := range pkg.Info.Selections {
		for _, embedded := range through(s) {
			add(sel.Sel.Pos(), embedded)
		}
	}
	slices.SortFunc(refs, func(a, b reference) int {
		return cmp.Or(
			cmp.Compare(a.pos.Filename, b.pos.Filename),
			cmp.Compare(a.pos.Offset, b.pos.Offset),
			cmp.Compare(a.name, b.name),
		)
	})
	return refs
}

// origin maps a field or a method of an instantiated type to the declaration
// in the generic one.
func origin(obj types.Object) types.Object {
	switch obj := obj.(type) {
	case *types.Var:
		return obj.Origin()
	case *types.Func:
		return obj.Origin()
	}
	return obj
}

// through lists the embedded fields on the way to what s selects.
func through(s *types.Selection) []types.Object {
	var fields []types.Object
	t, index := s.Recv(), s.Index()
	for _, i := range index[:len(index)-1] {
		if p, ok := t.Underlying().(*types.Pointer); ok {
			t = p.Elem()
		}
		st, ok := t.Underlying().(*types.Struct)
		if !ok {
			break
		}
		fields = append(fields, st.Field(i))
		t = st.Field(i).Type()
	}
	return fields
}

// fieldOwners maps the fields of the package's named structs to their types'
// names.
func fieldOwners(pkg *types.Package) map[types.Object]string {
	owners := make(map[types.Object]string)
	for _, name := range pkg.Scope().Names() {
		named, ok := pkg.Scope().Lookup(name).(*types.TypeName)
		if !ok {
			continue
		}
		if st, ok := named.Type().Underlying().(*types.Struct); ok {
			for f := range st.Fields() {
				if owners[f] == "" {
					owners[f] = name
				}
			}
		}
	}
	return owners
}

func qualified(obj types.Object, owners map[types.Object]string) string {
	switch o := obj.(type) {
	case *types.Var:
		if o.IsField() {
			return owners[o] + "." + o.Name()
		}
	case *types.Func:
		if recv := o.Signature().Recv(); recv != nil {
			return receiver(recv.Type()) + "." + o.Name()
		}
	}
	return obj.Name()
}

// receiver names the type of a method's receiver; that of an interface without
// a name is empty.
func receiver(t types.Type) string {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		return n.Obj().Name()
	}
	return ""
}

// files lists the base names of the package's files, sorted.
func files(pkg *source.Package) []string {
	var names []string
	for _, f := range pkg.Files {
		names = append(names, filename(pkg, f))
	}
	slices.Sort(names)
	return names
}

func filename(pkg *source.Package, f *ast.File) string {
	return filepath.Base(pkg.Fset.Position(f.Package).Filename)
}
