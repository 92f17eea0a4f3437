// Package against refers upwards in every way that there is.
package against

var (
	constant    = Limit
	variable    = &Made
	promoted    = variable.Open
	field       = variable.Size
	methodValue = variable.Close
	expression  = (*Box).Close
	generic     = Each([]int{1})
	instance    = &Numbers
	value       = instance.Value
	get         = instance.Get()
	deep        = &Deep
	twice       = deep.Size
)

type embeds struct{ Box }

func literal() any { return Box{Size: 1} }

func throughInterface(o Opener) bool { return o.Open() }

func anonymous(o interface{ Open() bool }) bool { return o.Open() }
