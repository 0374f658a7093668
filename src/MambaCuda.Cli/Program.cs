using MambaCuda.Cli;

return await CommandRunner.RunAsync(args, Console.Out, Console.Error);
