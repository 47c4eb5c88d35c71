console.log("effect-tasks: the example comes with the library")
