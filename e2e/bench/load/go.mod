module aion-os/e2e/bench/load

go 1.24
