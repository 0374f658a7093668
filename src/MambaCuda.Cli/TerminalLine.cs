namespace MambaCuda.Cli;

/// <summary>One line on standard error that is written over and over; only where that is a terminal.</summary>
internal sealed class TerminalLine(TextWriter error)
{
    private int _width;

    /// <summary>Whether it is: elsewhere nothing should be shown that is to go again.</summary>
    public bool IsTerminal { get; } = error == Console.Error && !Console.IsErrorRedirected;

    /// <summary>Writes over what was shown.</summary>
    public void Show(string text)
    {
        error.Write("\r" + text.PadRight(_width));
        _width = text.Length;
    }

    /// <summary>Takes away what is shown.</summary>
    public void Erase()
    {
        if (_width > 0)
        {
            error.Write("\r" + new string(' ', _width) + "\r");
            _width = 0;
        }
    }

    /// <summary>Leaves what is shown, and goes on below it.</summary>
    public void Keep()
    {
        if (_width > 0)
        {
            error.WriteLine();
            _width = 0;
        }
    }
}
