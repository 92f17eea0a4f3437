package main

import (
	"fmt"
	"go/types"
	"slices"
)

// surface lists what a program can name of pkg: constants with their values,
// variables, functions, and of each type its fields and methods, promoted
// ones included. Whatever can break a caller stands on a line of its own;
// unexported names appear nowhere, so moving them about changes nothing.
func surface(pkg *types.Package) []string {
	s := scan{qualify: func(p *types.Package) string {
		if p == pkg {
			return ""
		}
		// The path, not the name: math/rand and crypto/rand differ.
		return p.Path()
	}}
	for _, name := range pkg.Scope().Names() {
		if obj := pkg.Scope().Lookup(name); obj.Exported() {
			s.object(obj)
		}
	}
	slices.Sort(s.lines)
	return slices.Compact(s.lines)
}

type scan struct {
	qualify types.Qualifier
	lines   []string
}

func (s *scan) printf(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *scan) object(obj types.Object) {
	switch obj := obj.(type) {
	case *types.Const:
		s.printf("const %s %s = %s", obj.Name(), s.typ(obj.Type()), obj.Val().ExactString())
	case *types.Var, *types.Func:
		s.printf("%s", types.ObjectString(obj, s.qualify))
	case *types.TypeName:
		s.typeName(obj)
	}
}

func (s *scan) typeName(obj *types.TypeName) {
	if obj.IsAlias() {
		s.printf("type %s = %s", obj.Name(), s.typ(types.Unalias(obj.Type())))
		return
	}
	name := s.typ(obj.Type()) // with type parameters
	switch u := obj.Type().Underlying().(type) {
	case *types.Struct:
		s.printf("type %s struct", name)
		s.fields(name, u, nil)
	case *types.Interface:
		s.printf("type %s interface", name)
		s.interfaceMethods(name, u)
		return // its method set has just been listed
	default:
		s.printf("type %s %s", name, s.typ(u))
	}
	s.methods(obj.Type())
}

// fields lists the exported fields of u, and through an unexported embedded
// struct those that it promotes. One that is shadowed is listed too: that
// errs towards a line too many, never towards a change unseen. seen ends a
// type that embeds a pointer to itself.
func (s *scan) fields(name string, u *types.Struct, seen []types.Type) {
	for i := range u.NumFields() {
		f := u.Field(i)
		switch {
		case f.Exported():
			line := fmt.Sprintf("type %s struct, %s %s", name, f.Name(), s.typ(f.Type()))
			if f.Embedded() {
				line = fmt.Sprintf("type %s struct, embedded %s", name, s.typ(f.Type()))
			}
			if tag := u.Tag(i); tag != "" {
				line += fmt.Sprintf(" %q", tag)
			}
			s.lines = append(s.lines, line)
		case f.Embedded():
			t := f.Type()
			if p, ok := t.Underlying().(*types.Pointer); ok {
				t = p.Elem()
			}
			if inner, ok := t.Underlying().(*types.Struct); ok && !slices.Contains(seen, t) {
				s.fields(name, inner, append(seen, t))
			}
		}
	}
}

func (s *scan) interfaceMethods(name string, u *types.Interface) {
	closed := false
	for m := range u.Methods() {
		if m.Exported() {
			s.printf("type %s interface, %s%s", name, m.Name(), s.signature(m))
		} else {
			closed = true
		}
	}
	for t := range u.EmbeddedTypes() {
		if _, ok := t.Underlying().(*types.Interface); !ok {
			s.printf("type %s interface, %s", name, s.typ(t))
		}
	}
	if closed {
		// Nobody else can implement it: adding a method breaks no one.
		s.printf("type %s interface, unexported methods", name)
	}
}

func (s *scan) methods(t types.Type) {
	onValue := types.NewMethodSet(t)
	for m := range types.NewMethodSet(types.NewPointer(t)).Methods() {
		if !m.Obj().Exported() {
			continue
		}
		recv := t
		if onValue.Lookup(m.Obj().Pkg(), m.Obj().Name()) == nil {
			recv = types.NewPointer(t)
		}
		s.printf("method (%s) %s%s", s.typ(recv), m.Obj().Name(), s.signature(m.Obj()))
	}
}

// signature prints the parameters and results of f without the word func.
func (s *scan) signature(f types.Object) string {
	return s.typ(f.Type())[len("func"):]
}

func (s *scan) typ(t types.Type) string { return types.TypeString(t, s.qualify) }
