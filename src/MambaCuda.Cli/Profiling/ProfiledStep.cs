using MambaCuda.Kernels;
using MambaCuda.Training;

namespace MambaCuda.Cli;

/// <summary>A step of a model that can be run again and again: what mamba-cuda profile measures.</summary>
internal abstract class ProfiledStep : IDisposable
{
    public const string Prefill = "prefill";
    public const string Decode = "decode";
    public const string Train = "train";

    /// <summary>Runs the step and waits for it.</summary>
    public abstract void Run();

    public abstract void Dispose();

    private static int[] Tokens(MambaConfig config, int count)
    {
        Random random = new(1);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(config.VocabularySize))];
    }

    /// <summary>Prompts from their start to the logits of their last tokens on the host; or one token for each sequence behind its prompt.</summary>
    internal sealed class Inference : ProfiledStep
    {
        private readonly MambaModel _model;
        private readonly MambaState _state;
        private readonly SequenceLayout _sequences;
        private readonly int[] _tokens;
        private readonly float[] _logits;

        public Inference(MambaModel model, int batch, int length, bool decode)
        {
            _model = model;
            _state = model.CreateState(batch);
            _logits = new float[batch * model.Config.VocabularySize];
            _sequences = SequenceLayout.Uniform(batch, decode ? 1 : length);
            _tokens = Tokens(model.Config, decode ? batch : batch * length);
            if (decode)
            {
                model.Forward(Tokens(model.Config, batch * length), SequenceLayout.Uniform(batch, length), _state, logits: []);
            }
        }

        public override void Run() => _model.Forward(_tokens, _sequences, _state, _logits);

        public override void Dispose()
        {
            _state.Dispose();
            _model.Dispose();
        }
    }

    /// <summary>A batch forward and back, and AdamW's step.</summary>
    internal sealed class Training : ProfiledStep
    {
        private const double LearningRate = 1e-5;

        private readonly TrainableModel _model;
        private readonly AdamWOptimizer _optimizer;
        private readonly ForwardTape _tape;
        private readonly SequenceLayout _sequences;
        private readonly int[] _tokens;

        public Training(TrainableModel model, int batch, int length)
        {
            _model = model;
            _optimizer = new AdamWOptimizer(model);
            _tape = model.CreateTape();
            _sequences = SequenceLayout.Uniform(batch, length);
            _tokens = Tokens(model.Config, batch * length);
        }

        public override void Run()
        {
            _model.Forward(_tokens, _sequences, _tape);
            _model.Loss(_tape, _tokens, gradScale: 1f / _tokens.Length);
            _model.Backward(_tape);
            _ = _optimizer.Step(LearningRate);
            _model.Backend.Synchronize();
        }

        public override void Dispose()
        {
            _optimizer.Dispose();
            _tape.Dispose();
            _model.Dispose();
        }
    }
}
