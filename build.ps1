#!/usr/bin/env pwsh
#Requires -Version 7.0
<#
.SYNOPSIS
Builds, tests and packs MambaCuda: ./build.ps1 TARGET [-Configuration Release|Debug] [arguments].
.DESCRIPTION
A target is the commands that one would type at the root of the repository; the first that fails ends the script.
Nothing is used but the PowerShell 7 language and native commands: no module, so that any host can run it.
#>
[CmdletBinding(PositionalBinding = $false)]
param(
  [Parameter(Position = 0)] [string] $Target = 'help',
  [ValidateSet('Release', 'Debug')] [string] $Configuration = 'Release',
  [Parameter(ValueFromRemainingArguments)] [string[]] $Arguments = @()
)

Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'
# Run looks at the exit code itself, so that the message is the same whatever the caller prefers.
$PSNativeCommandUseErrorActionPreference = $false

# Shows a command and runs it. It declares no parameters, so that -c and its like stay the command's. What is shown is what is run:
# only a quoted argument reaches a native command as it stands; PowerShell would expand the * of an unquoted one, variable or not.
function Run {
  $words = foreach ($word in $args) {
    if ($word -cmatch '^[\w/-]+$') { $word }
    else { "'" + [System.Management.Automation.Language.CodeGeneration]::EscapeSingleQuotedStringContent($word) + "'" }
  }
  $line = $words -join ' '
  "> $line"
  & ([scriptblock]::Create("& $line"))
  if ($LASTEXITCODE -ne 0) { throw "Exit code $LASTEXITCODE from: $line" }
}

$Targets = [ordered]@{
  'help' = @{
    Does = 'list the targets'
    Commands = { Show-Help }
  }
  'restore' = @{
    Does = 'fetch the packages of all projects'
    Commands = { Run dotnet restore MambaCuda.sln }
  }
  'build' = @{
    Does = 'build all projects'
    Commands = { Run dotnet build MambaCuda.sln -c $Configuration }
  }
  'test' = @{
    Does = 'build and run all tests; arguments go to dotnet test'
    TakesArguments = $true
    Commands = { Run dotnet test --solution MambaCuda.sln -c $Configuration @Arguments }
  }
  'format' = @{
    Does = 'check that the code is formatted'
    Commands = { Run dotnet format MambaCuda.sln --verify-no-changes }
  }
  'pack' = @{
    Does = 'make the packages and the .NET tool in artifacts/packages'
    Commands = { Run dotnet pack MambaCuda.sln -c $Configuration }
  }
  'publish-aot' = @{
    Does = 'compile mamba-cuda ahead of time into artifacts/aot'
    Commands = { Run dotnet publish src/MambaCuda.Cli -c $Configuration -o artifacts/aot }
  }
  'bench' = @{
    Does = 'run the benchmarks; arguments go to them'
    TakesArguments = $true
    Commands = { Run dotnet run --project bench/MambaCuda.Benchmarks -c $Configuration '--' @Arguments }
  }
  'native' = @{
    Does = 'build native/ and run its tests'
    Commands = {
      Run cmake -S native -B native/build "-DCMAKE_BUILD_TYPE=$Configuration"
      Run cmake --build native/build --config $Configuration --parallel
      Run ctest --test-dir native/build -C $Configuration --output-on-failure --no-tests=error
    }
  }
}

function Show-Help {
  'usage: ./build.ps1 TARGET [-Configuration Release|Debug] [arguments]'
  ''
  foreach ($name in $Targets.Keys) { '  {0,-12} {1}' -f $name, $Targets[$name].Does }
  ''
  'examples:'
  '  ./build.ps1 build -Configuration Debug'
  '  ./build.ps1 test --filter-class "*BuildScriptTests"'
  '  ./build.ps1 bench --filter "*Decode*"'
}

$chosen = $Targets[$Target]
if ($null -eq $chosen) { throw "There is no target '$Target'. The targets are: $($Targets.Keys -join ', ')." }
if ($Arguments.Count -gt 0 -and -not $chosen['TakesArguments']) { throw "The target '$Target' takes no arguments; given: $Arguments" }

# Paths above and global.json count from the root; the caller stays where it was, whatever happens.
$places = $ExecutionContext.SessionState.Path
$places.PushCurrentLocation('build.ps1')
try {
  $null = $places.SetLocation($PSScriptRoot)
  & $chosen.Commands
}
finally {
  $null = $places.PopLocation('build.ps1')
}
