"""What `cuberouted why` reports: facts of the mesh and the kernel, judged and put into words."""
