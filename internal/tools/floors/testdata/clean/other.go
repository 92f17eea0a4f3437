package clean

type other struct{ pair *pair }

func (o *other) swap() *pair { return o.pair }
