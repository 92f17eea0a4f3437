module example/against

go 1.25.0
