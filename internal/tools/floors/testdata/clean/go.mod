module example/clean

go 1.25.0
