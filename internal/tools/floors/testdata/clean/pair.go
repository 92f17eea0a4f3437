package clean

type pair struct{ other *other }

func (p *pair) swap() *other { return p.other }
