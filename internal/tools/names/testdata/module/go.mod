module example/module

go 1.25.0
